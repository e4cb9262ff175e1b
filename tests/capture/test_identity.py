"""Numbers of columns from names then and the catalog now."""

import random

import pytest

from headwater.capture.postgres.identity import Attribute, Identified, Sent, identify

INT, TEXT = (23, -1), (25, -1)


def sent(*names, kind=TEXT):
    return [Sent(name, kind) for name in names]


def known(**names):
    return {int(number[1:]): Sent(name, TEXT) for number, name in names.items()}


def now(*names):
    """The catalog: None is a dropped column."""
    return [Attribute(number, name, TEXT if name else (0, -1)) for number, name in enumerate(names, 1)]


OLD = known(_1="id", _2="a", _3="b")


@pytest.mark.parametrize(
    ("columns", "catalog", "expected"),
    [
        (("id", "a", "b"), ("id", "a", "b"), ((1, 2, 3), True)),
        (("id", "x", "b"), ("id", "x", "b"), ((1, 2, 3), True)),  # renamed
        (("id", "a", "b", "c"), ("id", "a", "b", "c"), ((1, 2, 3, 4), True)),  # added
        (("id", "b"), ("id", None, "b"), ((1, 3), True)),  # dropped
        (("id", "b", "a"), ("id", None, "b", "a"), ((1, 3, 4), False)),  # made again: since when?
        (("id", "b", "a"), ("id", "b", "a"), ((1, 2, 3), False)),  # changed places
        (("id", "x", "b"), ("id", "y", "b"), ((1, 2, 3), True)),  # renamed twice, the first is seen
        (("id", "a", "b"), ("id", "a", "b", "c"), ((1, 2, 3), True)),  # the next change is there already
        (("id", "a", "b"), ("id", None, None), ((1, 2, 3), True)),
        (("id", "a", "b"), ("id", "a", None, "c"), ((1, 2, 3), False)),  # made again, and renamed before it was read
        (("id", "a", "b", "c"), ("id", "a", "b", None, "c"), ((1, 2, 3, 5), False)),  # or the 4, which came and went
        (("id", "a", "b", "c"), ("id", "a", "b", "d"), ((1, 2, 3, 4), True)),
        (("id", "b", "c"), ("id", None, "b", None, "e"), ((1, 3, 5), False)),
        (("id",), ("id", "a", "b"), ((1,), False)),  # b is known wrongly
        (("id", "a", "b", "c"), ("id", "a"), None),
    ],
)
def test_cases(columns, catalog, expected):
    found = identify(OLD, sent(*columns), now(*catalog))
    assert found == (None if expected is None else Identified(*expected))


def test_random_histories_are_never_sure_and_wrong():
    """A table changes at random; some versions are seen, each while the catalog is some steps ahead."""
    sure = wrong_guess = 0
    for seed in range(400):
        versions = history(random.Random(seed))
        dice = random.Random(seed)
        seen, at = versions[0], 0
        while at < len(versions) - 1:
            at += dice.randint(1, 2)
            then = versions[min(at, len(versions) - 1)]
            ahead = versions[min(at + dice.choice([0, 0, 1, 3]), len(versions) - 1)]
            live = {n: name for n, name in then.items() if name}
            found = identify(
                {n: Sent(name, TEXT) for n, name in seen.items() if name},
                sent(*live.values()),
                now(*ahead.values()),
                given=len(seen),
            )
            assert found is not None
            if found.sure:
                sure += 1
                assert found.numbers == tuple(live), (seed, seen, then, ahead)
            else:
                wrong_guess += found.numbers != tuple(live)
            seen = then
    assert sure > 300


def history(dice):
    """Versions of a table: number to name, None if dropped; each one change after the one before.

    What was renamed is not made again under its new name: that, unread, is taken for a column dropped and one added.
    """
    version = {1: "id", 2: "a", 3: "b"}
    versions = [dict(version)]
    names = iter(f"n{i}" for i in range(100))
    for _ in range(8):
        live = [n for n, name in version.items() if name and n > 1]
        match dice.choice(["add", "drop", "again", "rename"]):
            case "add":
                version[len(version) + 1] = next(names)
            case "drop" if len(live) > 1:
                version[dice.choice(live)] = None
            case "again" if first := [n for n in live if not version[n].startswith("r")]:
                dropped = dice.choice(first)
                version[len(version) + 1], version[dropped] = version[dropped], None
            case "rename":
                version[dice.choice(live)] = f"r{next(names)}"
        versions.append(dict(version))
    return versions
