"""Which rows differ between a source's table and its mirror, of the buckets whose digests do."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from headwater.capture.verification import TableAt
from headwater.change import key_text
from headwater.digest import Digest, Digests, canonical, in_buckets
from headwater.quality.certificates import Difference
from headwater.runtime.mirror_at import MirrorAt

MOST_ROWS = 500_000
"""Rows of the source fetched at most to be compared by value."""

MOST_LISTED = 100


@dataclass
class Found:
    """What comparing rows showed.

    Attributes:
        differences: rows that differ for no reason known.
        rejected: rows missing here that the ledger holds.
        complete: every bucket that differs was looked at.
        listed: the first differences, and if there are none the first rejected rows.
    """

    differences: int = 0
    rejected: int = 0
    complete: bool = True
    listed: list[Difference] = field(default_factory=list)

    @property
    def harmless(self) -> bool:
        """Whether the ledger of rejects explains it all."""
        return self.complete and not self.differences and self.rejected > 0


def compare(
    seen: TableAt,
    mirror: MirrorAt,
    buckets: int,
    differing: Sequence[int],
    theirs: Digests,
    rejected: frozenset[str],
) -> Found:
    """Compares the rows of differing buckets by value.

    Args:
        theirs: the source's digests.
        rejected: keys, as rejects have them, of rows that are known to be missing here.
    """
    chosen = _affordable(differing, theirs)
    columns, key = seen.stream.columns, seen.stream.key
    empty = pa.schema([column.with_nullable(True) for column in columns]).empty_table()
    fetched = pa.concat_tables([empty, *(_plain(rows, empty.schema) for rows in seen.rows(buckets, chosen))])
    there, gone = (
        pa.concat_tables([empty, *(in_buckets(rows, key, buckets, chosen) for rows in tables)])
        for tables in (mirror.there, mirror.gone)
    )
    found = Found(complete=len(chosen) == len(differing))
    if key:
        _by_key(fetched, there, key, rejected, found)
    else:
        _by_multiset(fetched, there, gone, found)
    expected = sum(theirs.get(bucket, Digest()).rows for bucket in chosen)
    _undecodable(expected - fetched.num_rows, rejected, bool(key), found)
    return found


def _affordable(differing: Sequence[int], theirs: Mapping[int, Digest]) -> list[int]:
    """As many of the buckets as do not hold too many rows; at least one."""
    chosen: list[int] = []
    rows = 0
    for bucket in differing:
        rows += theirs.get(bucket, Digest()).rows
        if chosen and rows > MOST_ROWS:
            break
        chosen.append(bucket)
    return chosen


def _plain(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    return pa.table(rows.columns, schema=schema)


def _by_key(fetched: pa.Table, there: pa.Table, key: Sequence[str], rejected: frozenset[str], found: Found) -> None:
    left, right = _keyed(fetched, key), _keyed(there, key)
    for text in sorted(left.keys() | right.keys()):
        theirs, ours = left.get(text), right.get(text)
        if theirs == ours:
            continue
        if ours is None and text in rejected:
            found.rejected += 1
            _list(found, Difference(text, "rejected"))
            continue
        what = "differs" if theirs and ours else "missing" if theirs else "extra"
        names = [name for name, a, b in zip(fetched.column_names, theirs or (), ours or (), strict=False) if a != b]
        found.differences += 1
        _list(found, Difference(text, what, tuple(names)))


def _keyed(rows: pa.Table, key: Sequence[str]) -> dict[str, tuple[str | None, ...]]:
    """The rows' canonical texts by key."""
    keys = (key_text(rows.column(name).combine_chunks()) for name in key)
    texts = [json.dumps(list(values)) for values in zip(*keys, strict=True)]
    return dict(zip(texts, zip(*canonical(rows).to_pydict().values(), strict=True), strict=True))


def _by_multiset(fetched: pa.Table, there: pa.Table, gone: pa.Table, found: Found) -> None:
    counts: Counter[tuple[str | None, ...]] = Counter()
    for rows, sign in ((fetched, 1), (there, -1), (gone, 1)):
        for row in zip(*canonical(rows).to_pydict().values(), strict=True):
            counts[row] += sign
    for row, count in counts.items():
        if count:
            found.differences += abs(count)
            _list(found, Difference(json.dumps(list(row)), "missing" if count > 0 else "extra", count=abs(count)))


def _undecodable(count: int, rejected: frozenset[str], keyed: bool, found: Found) -> None:
    """Rows of the source with values that cannot be held: they are in the ledger, or missing without a word."""
    if count <= 0:
        return
    known = min(count, len(rejected)) if keyed else count
    found.rejected += known
    found.differences += count - known
    if count > known:
        _list(found, Difference("", "missing", count=count - known))


def _list(found: Found, difference: Difference) -> None:
    if difference.what == "rejected" and found.differences:
        return
    if len(found.listed) < MOST_LISTED:
        found.listed.append(difference)
