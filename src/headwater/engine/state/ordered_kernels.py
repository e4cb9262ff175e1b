"""The compiled loops of `OrderedRows`: treaps with parent links, one per group, all in one array of nodes.

A treap (Seidel and Aragon, 1996) is a search tree by order key and a heap by a random priority; here the priority is a
hash of the entry's number, so that none is kept. Depth is about 1.4 log2(entries) whatever comes in what order. Every
node knows the weight of its subtree, which makes ranks a walk from the root or to it.

A node is `stride` words of 64 bits, so that a visit is about one miss of the cache:

    int32 left, right, parent, tail | int64 subtree weight | int64 own weight | uint64 order words ...

Links are entry + 1, 0 for none; a root's parent is -(group + 1). A tail's number is + 1 too. All kernels are
iterative and release the GIL.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from headwater.index.kernels import Longs, Mask, Words, compiled, inlined

Ints = NDArray[np.int32]
Whole = int | np.int64

_ints, _longs, _words = types.int32[::1], types.int64[::1], types.uint64[::1]
_int = types.int64

LEFT, RIGHT, PARENT, TAIL = 0, 1, 2, 3
"""Places of the int32 parts of a node."""
SIZE, WEIGHT, ORDER = 2, 3, 4
"""Places of its 64-bit parts; from `ORDER` on its order words."""

_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xFF51AFD7ED558CCD)
_HALF = np.uint64(32)


@inlined
def _priority(entry: Whole) -> np.uint64:
    h = np.uint64(entry + 1) * _SPREAD
    h = (h ^ (h >> _HALF)) * _MIX
    return h ^ (h >> _HALF)


@inlined
def _order(one: Words, a: Whole, other: Words, b: Whole, length: Whole) -> Whole:
    """-1, 0 or 1: how `length` words from `a` compare with those from `b`."""
    at = 0
    while at < length and one[a + at] == other[b + at]:
        at += 1
    result = 0
    if at < length:
        result = -1 if one[a + at] < other[b + at] else 1
    return result


@inlined
def _tails_order(arena: Words, a: Whole, a_length: Whole, other: Words, b: Whole, b_length: Whole) -> Whole:
    """How two tails compare: neither is a prefix of the other unless they are equal."""
    return _order(arena, a, other, b, min(a_length, b_length))


@inlined
def _weight_of(nodes: Longs, stride: Whole, link: Whole) -> Whole:
    """The weight of the subtree behind a link, which may be none."""
    return nodes[(link - 1) * stride + SIZE] if link else 0


@inlined
def _hang(links: Ints, roots: Ints, wide: Whole, parent: Whole, old: Whole, new: Whole) -> None:
    """Puts the link `new` where `parent` (a link, or -(group + 1)) had `old`."""
    if parent < 0:
        roots[-parent - 1] = new
    elif links[(parent - 1) * wide + LEFT] == old:
        links[(parent - 1) * wide + LEFT] = new
    else:
        links[(parent - 1) * wide + RIGHT] = new
    if new:
        links[(new - 1) * wide + PARENT] = parent


@inlined
def _rotate_up(nodes: Longs, links: Ints, roots: Ints, stride: Whole, child: Whole) -> None:
    """Exchanges a node, given by its link, with its parent."""
    wide = 2 * stride
    parent = links[(child - 1) * wide + PARENT]
    left = links[(parent - 1) * wide + LEFT] == child
    moved = links[(child - 1) * wide + (RIGHT if left else LEFT)]
    _hang(links, roots, wide, links[(parent - 1) * wide + PARENT], parent, child)
    links[(parent - 1) * wide + (LEFT if left else RIGHT)] = moved
    if moved:
        links[(moved - 1) * wide + PARENT] = parent
    links[(child - 1) * wide + (RIGHT if left else LEFT)] = parent
    links[(parent - 1) * wide + PARENT] = child
    whole = nodes[(parent - 1) * stride + SIZE]
    nodes[(parent - 1) * stride + SIZE] += _weight_of(nodes, stride, moved) - nodes[(child - 1) * stride + SIZE]
    nodes[(child - 1) * stride + SIZE] = whole


@inlined
def _climb(nodes: Longs, links: Ints, stride: Whole, link: Whole, weight: Whole) -> None:
    """Adds to the subtree weights from a link (perhaps none, or -(group + 1)) up to the root."""
    at = link
    while at > 0:
        nodes[(at - 1) * stride + SIZE] += weight
        at = links[(at - 1) * 2 * stride + PARENT]


@inlined
def _rise(nodes: Longs, links: Ints, roots: Ints, stride: int, entry: Whole) -> None:
    """Brings an entry up to where its priority wants it."""
    rank = _priority(entry)
    above = np.int64(links[entry * 2 * stride + PARENT])
    while above > 0 and _priority(above - 1) < rank:
        _rotate_up(nodes, links, roots, stride, entry + 1)
        above = np.int64(links[entry * 2 * stride + PARENT])


_tree = (_longs, _ints, _words, _ints, _int)
_tails = (_words, _longs, _longs)


@compiled(types.int64(*_tree, *_tails, _longs, _longs, _longs, _longs, types.boolean, _longs, _longs))
def insert(
    nodes: Longs,
    links: Ints,
    words: Words,
    roots: Ints,
    stride: int,
    arena: Words,
    starts: Longs,
    lengths: Longs,
    groups: Longs,
    entries: Longs,
    weights: Longs,
    which: Longs,
    ties: bool,
    tied: Longs,
    partners: Longs,
) -> int:
    """Inserts the rows numbered `which`, whose order words stand in their nodes already; equals go behind equals.

    Where `ties` and an entry's order words are another's while one of them has no tail, it is not inserted: its number
    is written to `tied`, the other's entry to `partners`. Returns how many of these there are.
    """
    count, wide, width = 0, 2 * stride, stride - ORDER
    for i in which:
        entry = entries[i]
        own = entry * stride + ORDER
        parent, at, side = -groups[i] - 1, np.int64(roots[groups[i]]), LEFT
        wanting = np.int64(0)
        while at and not wanting:
            order = _order(words, own, words, (at - 1) * stride + ORDER, width)
            if order == 0 and ties:
                mine, other = links[entry * wide + TAIL], links[(at - 1) * wide + TAIL]
                if mine and other:
                    order = _tails_order(
                        arena, starts[mine - 1], lengths[mine - 1], arena, starts[other - 1], lengths[other - 1]
                    )
                else:
                    wanting = at
            side = LEFT if order < 0 else RIGHT
            parent = at
            at = np.int64(links[(at - 1) * wide + side])
        if wanting:
            tied[count], partners[count] = i, wanting - 1
            count += 1
            continue
        links[entry * wide + LEFT], links[entry * wide + RIGHT], links[entry * wide + PARENT] = 0, 0, parent
        nodes[entry * stride + SIZE] = nodes[entry * stride + WEIGHT] = weights[i]
        if parent < 0:
            roots[groups[i]] = entry + 1
            continue
        links[(parent - 1) * wide + side] = entry + 1
        _climb(nodes, links, stride, parent, weights[i])
        _rise(nodes, links, roots, stride, entry)
    return count


@compiled(types.void(_longs, _ints, _ints, _int, _longs))
def remove(nodes: Longs, links: Ints, roots: Ints, stride: int, entries: Longs) -> None:
    """Takes entries out, merging what hangs below each; their tails are forgotten."""
    wide = 2 * stride
    for entry in entries:
        left, right = np.int64(links[entry * wide + LEFT]), np.int64(links[entry * wide + RIGHT])
        parent = np.int64(links[entry * wide + PARENT])
        _climb(nodes, links, stride, parent, -nodes[entry * stride + WEIGHT])
        # The merged tree hangs where the entry did, and then ever further down at `side` of `parent`.
        side = -1
        if parent > 0:
            side = LEFT if links[(parent - 1) * wide + LEFT] == entry + 1 else RIGHT
        group, merging = -parent - 1, True
        while merging:
            merging = left != 0 and right != 0
            from_left = left != 0 and (not merging or _priority(left - 1) > _priority(right - 1))
            top = left if from_left else right
            if merging:
                nodes[(top - 1) * stride + SIZE] += nodes[((right if from_left else left) - 1) * stride + SIZE]
            if side < 0:
                roots[group] = top
            else:
                links[(parent - 1) * wide + side] = top
            if top:
                links[(top - 1) * wide + PARENT] = parent
            if merging:
                parent, side = top, RIGHT if from_left else LEFT
                below = np.int64(links[(top - 1) * wide + side])
                left, right = (below, right) if from_left else (left, below)
        links[entry * wide + TAIL] = 0
        links[entry * wide + PARENT] = 0


@compiled(types.void(_longs, _ints, _int, _longs, _longs))
def reweigh(nodes: Longs, links: Ints, stride: int, entries: Longs, by: Longs) -> None:
    """Adds to the weights of entries."""
    for i in range(len(entries)):
        nodes[entries[i] * stride + WEIGHT] += by[i]
        _climb(nodes, links, stride, entries[i] + 1, by[i])


@compiled(types.void(_longs, _ints, _int, _longs, _longs))
def sizes(nodes: Longs, roots: Ints, stride: int, groups: Longs, out: Longs) -> None:
    """Writes the weight of each group."""
    for i in range(len(groups)):
        out[i] = _weight_of(nodes, stride, np.int64(roots[groups[i]]))


@inlined
def _seek(nodes: Longs, links: Ints, stride: Whole, root: Whole, rank: Whole) -> tuple[Whole, Whole]:
    """The link of the entry at a rank that is there, and how far into its own weight the rank is."""
    at, rest = root, rank
    found: Whole = 0
    while not found:
        left = np.int64(links[(at - 1) * 2 * stride + LEFT])
        before = _weight_of(nodes, stride, left)
        own = nodes[(at - 1) * stride + WEIGHT]
        if rest < before:
            at = left
        elif rest < before + own:
            rest -= before
            found = at
        else:
            rest -= before + own
            at = np.int64(links[(at - 1) * 2 * stride + RIGHT])
    return found, rest


@inlined
def _next(links: Ints, stride: Whole, link: Whole) -> Whole:
    """The link of the entry behind this one in its group, 0 if it is the last."""
    wide = 2 * stride
    at = np.int64(links[(link - 1) * wide + RIGHT])
    if at:
        while links[(at - 1) * wide + LEFT]:
            at = np.int64(links[(at - 1) * wide + LEFT])
    else:
        below = link
        at = np.int64(links[(link - 1) * wide + PARENT])
        while at > 0 and links[(at - 1) * wide + RIGHT] == below:
            below = at
            at = np.int64(links[(at - 1) * wide + PARENT])
        at = max(at, np.int64(0))
    return at


@compiled(types.void(_longs, _ints, _ints, _int, _longs, _longs, _longs))
def select(nodes: Longs, links: Ints, roots: Ints, stride: int, groups: Longs, ranks: Longs, out: Longs) -> None:
    """Writes the entry at each rank of its group, -1 where there is none."""
    for i in range(len(groups)):
        root = np.int64(roots[groups[i]])
        out[i] = -1
        if 0 <= ranks[i] < _weight_of(nodes, stride, root):
            found, _ = _seek(nodes, links, stride, root, ranks[i])
            out[i] = found - 1


@compiled(types.int64(_longs, _ints, _ints, _int, _longs, _longs, _longs, _longs, _longs, _longs))
def window(
    nodes: Longs,
    links: Ints,
    roots: Ints,
    stride: int,
    groups: Longs,
    low: Longs,
    high: Longs,
    offsets: Longs,
    out: Longs,
    copies: Longs,
) -> int:
    """Writes, group after group, the entries of the ranks from `low` to before `high` in order, and how much of each
    one's weight lies there, as far as there is room; returns how many there are. `offsets` is one longer than groups.
    """
    count = 0
    for i in range(len(groups)):
        offsets[i] = count
        root = np.int64(roots[groups[i]])
        start, end = max(low[i], 0), min(high[i], _weight_of(nodes, stride, root))
        if start >= end:
            continue
        at, skipped = _seek(nodes, links, stride, root, start)
        left = end - start
        while left > 0:
            taken = min(nodes[(at - 1) * stride + WEIGHT] - skipped, left)
            if count < len(out):
                out[count], copies[count] = at - 1, taken
            count += 1
            left -= taken
            skipped = 0
            if left > 0:
                at = _next(links, stride, at)
    offsets[len(groups)] = count
    return count


@compiled(types.void(_longs, _ints, _int, _longs, _longs, _longs))
def ranks(nodes: Longs, links: Ints, stride: int, entries: Longs, out: Longs, groups: Longs) -> None:
    """Writes the weight of what stands before each entry in its group, and the group."""
    wide = 2 * stride
    for i in range(len(entries)):
        link = entries[i] + 1
        before = _weight_of(nodes, stride, np.int64(links[entries[i] * wide + LEFT]))
        above = np.int64(links[(link - 1) * wide + PARENT])
        while above > 0:
            if links[(above - 1) * wide + RIGHT] == link:
                before += nodes[(above - 1) * stride + SIZE] - nodes[(link - 1) * stride + SIZE]
            link = above
            above = np.int64(links[(link - 1) * wide + PARENT])
        out[i], groups[i] = before, -above - 1


@compiled(types.void(*_tree, *_tails, _longs, _words, _words, _longs, types.boolean, types.boolean, _longs))
def bounds(
    nodes: Longs,
    links: Ints,
    words: Words,
    roots: Ints,
    stride: int,
    arena: Words,
    starts: Longs,
    lengths: Longs,
    groups: Longs,
    heads: Words,
    tails: Words,
    tail_offsets: Longs,
    ties: bool,
    after: bool,
    out: Longs,
) -> None:
    """Writes the weight of what stands before each order key in its group; `after`: before or equal to it.

    Where `ties`, the tails decide between equal order words; an entry without one counts as equal.
    """
    width, wide = stride - ORDER, 2 * stride
    for i in range(len(groups)):
        at, before = np.int64(roots[groups[i]]), 0
        while at:
            order = _order(words, (at - 1) * stride + ORDER, heads, i * width, width)
            tail = links[(at - 1) * wide + TAIL]
            if order == 0 and ties and tail:
                start, end = tail_offsets[i], tail_offsets[i + 1]
                order = _tails_order(arena, starts[tail - 1], lengths[tail - 1], tails, start, end - start)
            if order < 0 or (order == 0 and after):
                left = np.int64(links[(at - 1) * wide + LEFT])
                before += _weight_of(nodes, stride, left) + nodes[(at - 1) * stride + WEIGHT]
                at = np.int64(links[(at - 1) * wide + RIGHT])
            else:
                at = np.int64(links[(at - 1) * wide + LEFT])
        out[i] = before


@compiled(types.void(_longs, _ints, _words, _ints, _int, _longs, _words, _int, types.boolean, types.boolean[::1]))
def surpass(
    nodes: Longs,
    links: Ints,
    words: Words,
    roots: Ints,
    stride: int,
    groups: Longs,
    heads: Words,
    n: int,
    ties: bool,
    out: Mask,
) -> None:
    """Whether each order key comes before the last entry of its group or, where `ties`, has its words; true in a group
    of a weight below `n`."""
    width, wide = stride - ORDER, 2 * stride
    for i in range(len(groups)):
        at = np.int64(roots[groups[i]])
        out[i] = True
        if _weight_of(nodes, stride, at) >= n:
            while links[(at - 1) * wide + RIGHT]:
                at = np.int64(links[(at - 1) * wide + RIGHT])
            order = _order(heads, i * width, words, (at - 1) * stride + ORDER, width)
            out[i] = order < 0 or (ties and order == 0)


@compiled(types.void(_words, _int, _words, _longs))
def place_words(nodes: Words, stride: int, heads: Words, entries: Longs) -> None:
    """Writes order words into the nodes of entries."""
    width = stride - ORDER
    for i in range(len(entries)):
        at = entries[i] * stride + ORDER
        for j in range(width):
            nodes[at + j] = heads[i * width + j]


@compiled(types.void(_ints, _int, _longs, _longs))
def tails_of(links: Ints, stride: int, entries: Longs, out: Longs) -> None:
    """Writes the number of each entry's tail, -1 where it has none."""
    for i in range(len(entries)):
        out[i] = links[entries[i] * 2 * stride + TAIL] - 1


@compiled(types.void(_ints, _int, _longs, _longs))
def set_tails(links: Ints, stride: int, entries: Longs, numbers: Longs) -> None:
    """Gives entries their tails."""
    for i in range(len(entries)):
        links[entries[i] * 2 * stride + TAIL] = numbers[i] + 1
