"""PostgreSQL's types, what they are captured as, values at their edges, and how more are drawn."""

import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from uuid import UUID

import psycopg
import pyarrow as pa

TEXT = pa.string()
PREPARE = (
    "CREATE EXTENSION hstore",
    "CREATE EXTENSION citext",
    "CREATE TYPE mood AS ENUM ('so so', 'a,b', '\"', '')",
    "CREATE TYPE pair AS (a int, b text)",
    "CREATE DOMAIN amount AS numeric(8,3)",
    "CREATE DOMAIN price AS amount CHECK (value > -1000)",
    "CREATE DOMAIN days AS date[]",
)


@dataclass(frozen=True)
class Kind:
    """A type: as SQL writes it, as Arrow has it, literals (without quotes) at its edges, more of them drawn, and the
    SQL that says what a value is in other words than its text (`None`: the text itself)."""

    sql: str
    arrow: pa.DataType
    edges: list
    drawn: Callable[[Random], str] | None = None
    means: str | None = None
    needs: str = ""


def whole(low, high):
    return lambda r: str(r.randint(low, high))


def floating(form):
    return lambda r: repr(struct.unpack(form, r.randbytes(struct.calcsize(form)))[0])


def number(digits, scale):
    def draw(r):
        n = r.randrange(10 ** r.randint(0, digits))
        return f"{r.choice(['', '-'])}{n // 10**scale}.{n % 10**scale:0{max(scale, 1)}}"

    return draw


def text(r, most=12):
    letters = "ab,\"\\{}()'NUL \t\n\r\v\f\b\x01\x7f\x80é漢🦉\u2028\ufeff"
    return "".join(r.choice(letters) for _ in range(r.randint(0, most)))


def clock(r):
    return f"{r.randint(0, 23):02}:{r.randint(0, 59):02}:{r.randint(0, 59):02}.{r.randint(0, 999999):06}"


def date(r, last=5_874_897):
    bc = r.random() < 0.2
    year = r.randint(1, 4711) if bc else r.choice([r.randint(1, 3000), r.randint(1, last)])
    return f"{year:04}-{r.randint(1, 12):02}-{r.randint(1, 28):02}{' BC' if bc else ''}"


def moment(r, zone=""):
    if r.random() < 0.05:
        return r.choice(["infinity", "-infinity"])
    day, _, bc = date(r, 294_246).partition(" ")
    return f"{day} {clock(r)}{zone}{' BC' if bc else ''}"


def zoned(r):
    return moment(r, r.choice(["+00", "+05:30", "-11", "+14", "-03:30"]))


def span(r):
    return f"{r.randint(-20000, 20000)} mon {r.randint(-9999, 9999)} days {r.choice(['', '-'])}{clock(r)}"


def json(r, depth=3):
    kind = r.randrange(8 if depth else 5)
    if kind > 5:
        return "[" + ", ".join(json(r, depth - 1) for _ in range(r.randint(0, 3))) + "]"
    if kind == 5:
        return "{" + ",".join(f'"{r.randint(0, 2)}" :{json(r, depth - 1)}' for _ in range(r.randint(0, 3))) + "}"
    return r.choice(["null", "true", "1.50", "-0", "1e400", '"é\\n"', '"\\u2028"', f"{r.random()}"])


def array(element, nulls=0.2):
    def draw(r):
        items = [None if r.random() < nulls else element(r) for _ in range(r.randint(0, 5))]
        quoted = ("NULL" if i is None else '"' + i.replace("\\", "\\\\").replace('"', '\\"') + '"' for i in items)
        return "{" + ",".join(quoted) + "}"

    return draw


def one_of(*values):
    return lambda r: r.choice(values)


_days = (
    "CASE {0} WHEN 'infinity' THEN 2147483647 WHEN '-infinity' THEN -2147483647"
    " ELSE CASE WHEN isfinite({0}) THEN {0} END - date '1970-01-01' END"
)
_us = "extract(epoch FROM {0}) * 1000000"
_edges_date = ["0001-01-01", "9999-12-31", "infinity", "-infinity", "4713-01-01 BC", "0001-12-31 BC", "10000-01-01",
               "5874897-12-31", "2000-02-29", "1900-02-28", "0005-02-29 BC"]  # fmt: skip
_edges_moment = ["2024-02-29 01:02:03.000004", "infinity", "-infinity", "4713-01-01 00:00:00.000001 BC",
                 "294247-01-10 04:00:54.775806", "1969-12-31 23:59:59.999999", "0001-01-01 00:00:00 BC"]  # fmt: skip
_dst = ["2024-03-31 02:30:00+01", "2024-10-27 02:30:00+01", "2024-10-27 02:30:00+02", "2024-03-31 02:30:00.5+05:30"]

KINDS = [
    Kind("boolean", pa.bool_(), ["t", "f"], one_of("t", "f")),
    Kind("smallint", pa.int16(), ["-32768", "32767"], whole(-(2**15), 2**15 - 1)),
    Kind("integer", pa.int32(), ["-2147483648", "0"], whole(-(2**31), 2**31 - 1)),
    Kind("bigint", pa.int64(), [str(2**63 - 1), str(-(2**63))], whole(-(2**63), 2**63 - 1)),
    Kind("oid", pa.int64(), ["4294967295"], whole(0, 2**32 - 1)),
    Kind("real", pa.float32(), ["-Infinity", "NaN", "1e-45", "-0", "3.4028235e38", "0.1"], floating("f"),
         "float4send({0})"),
    Kind("double precision", pa.float64(), ["5e-324", "-0", "Infinity", "NaN", "1.7976931348623157e308", "0.1"],
         floating("d"), "float8send({0})"),
    Kind("numeric(10,2)", pa.decimal128(10, 2), ["-99999999.99", "0.005", "-0.00"], number(10, 2)),
    Kind("numeric(38,0)", pa.decimal128(38, 0), ["9" * 38], whole(-(10**38) + 1, 10**38 - 1)),
    Kind("numeric(38,38)", pa.decimal128(38, 38), ["0." + "9" * 38]),
    Kind("numeric(3,-2)", pa.decimal128(5, 0), ["12345"]),
    Kind("numeric(2,4)", pa.decimal128(4, 4), ["0.0012"]),
    Kind("numeric(40,1)", TEXT, ["9" * 39 + ".5", "NaN"]),
    Kind("numeric", TEXT, ["NaN", "Infinity", "-Infinity", "1e-16383", "1e131071", "123456789012345678901234567890.5"],
         number(60, 30)),
    Kind("text", TEXT, ["", "tab\t nl\n cr\r bs\b back\\ \\N \v\f é 漢 🦉", "NULL", "\\N", "\\.", "x" * 200_000],
         text),
    Kind("varchar(20)", TEXT, ["abc"], text),
    Kind("char(5)", TEXT, ["ab", ""], lambda r: text(r, 5)),
    Kind('"char"', TEXT, ["a"]),
    Kind("name", TEXT, ["a b"]),
    Kind("citext", TEXT, ["Ab C"], text),
    Kind("bytea", pa.binary(), ["\\x", "\\x00ff0a"], lambda r: "\\x" + r.randbytes(r.randint(0, 20)).hex()),
    Kind("date", pa.date32(), _edges_date, date, _days),
    Kind("time", pa.time64("us"), ["23:59:59.999999", "00:00"], clock, _us),
    Kind("timetz", TEXT, ["10:00+02", "24:00:00-15:59", "00:00:00.000001+00"]),
    Kind("timestamp", pa.timestamp("us"), _edges_moment, moment, _us),
    Kind("timestamptz", pa.timestamp("us", "UTC"), [*(m.replace(" BC", "") + "+00" + (" BC" if "BC" in m else "")
         if "inf" not in m else m for m in _edges_moment), *_dst], zoned, _us),
    Kind("interval", TEXT, ["1 year 2 days 03:04:05.6", "-178000000 years", "0", "1 mon -1 day -00:00:00.000001"],
         span),
    Kind("uuid", TEXT, ["00000000-0000-0000-0000-00000000000A"], lambda r: str(UUID(bytes=r.randbytes(16)))),
    Kind("json", TEXT, ['{"a":  "x\\ny", "a": 1}'], json),
    Kind("jsonb", TEXT, ['{"b": [1, null], "a": "\\u00e9", "n": 1.10}'], json),
    Kind("xml", TEXT, ["a &amp; b"], needs="xml"),
    Kind("inet", TEXT, ["10.0.0.1", "::ffff:1.2.3.4/96"], lambda r: ".".join(str(b) for b in r.randbytes(4))),
    Kind("cidr", TEXT, ["10.0.0.0/8"]),
    Kind("macaddr", TEXT, ["08:00:2b:01:02:03"]),
    Kind("macaddr8", TEXT, ["08:00:2b:01:02:03:04:05"]),
    Kind("money", TEXT, ["12.5", "-92233720368547758.08"]),
    Kind("bit(3)", TEXT, ["101"]),
    Kind("bit varying", TEXT, ["", "0" * 70]),
    Kind("tsvector", TEXT, ["'a b':1A c:2,3"]),
    Kind("tsquery", TEXT, ["'a' & !b"]),
    Kind("pg_lsn", TEXT, ["FFFFFFFF/FFFFFFFF"]),
    Kind("xid8", TEXT, [str(2**64 - 1)]),
    Kind("regclass", TEXT, ["pg_class"]),
    Kind("int2vector", TEXT, ["1 2"]),
    Kind("point", TEXT, ["(1e-300,-0)"]),
    Kind("box", TEXT, ["(1,1),(0,0.1)"]),
    Kind("circle", TEXT, ["<(0,0),1>"]),
    Kind("path", TEXT, ["[(0,0),(1,1)]"]),
    Kind("int4range", TEXT, ["[1,5)", "empty", "(,)"]),
    Kind("numrange", TEXT, ["[1.0,1.00]"]),
    Kind("tstzrange", TEXT, ["[2024-01-01 00:00+05,infinity)"]),
    Kind("datemultirange", TEXT, ["{}", "{[2024-01-01,2024-01-02),[2025-01-01,)}"]),
    Kind("mood", TEXT, ["so so", "a,b", '"', ""], one_of("so so", "a,b", '"', "")),
    Kind("pair", TEXT, ['(1,"a b")', "(,)", '(2,"")']),
    Kind("price", pa.decimal128(8, 3), ["1.5"], number(5, 3)),
    Kind("hstore", TEXT, ['"a"=>"1", "b"=>NULL', ""]),
    Kind("integer[]", pa.list_(pa.int32()), ["{}", "{1,NULL,-3}"], array(whole(-9, 9))),
    Kind("text[]", pa.list_(TEXT), ['{"a,b","\\"q\\"","NULL",NULL,"","{}","\\\\"," "}'], array(text)),
    Kind("numeric(6,2)[]", pa.list_(pa.decimal128(6, 2)), ["{1.5}"]),
    Kind("bytea[]", pa.list_(pa.binary()), ['{"\\\\x00ff",NULL}']),
    Kind("boolean[]", pa.list_(pa.bool_()), ["{t,f}"], array(one_of("t", "f"))),
    Kind("timestamptz[]", pa.list_(pa.timestamp("us", "UTC")), ["{infinity,2024-01-01 00:00:00.000001+02}"],
         array(zoned)),
    Kind("double precision[]", pa.list_(pa.float64()), ["{NaN,-0,0.1}"], array(floating("d"))),
    Kind("jsonb[]", pa.list_(TEXT), ['{"{\\"a\\": [1, 2]}",NULL}'], array(json)),
    Kind("uuid[]", pa.list_(TEXT), ["{00000000-0000-0000-0000-00000000000a}"]),
    Kind("mood[]", pa.list_(TEXT), ['{"so so","a,b",NULL}']),
    Kind("pair[]", pa.list_(TEXT), ['{"(1,\\"a b\\")"}']),
    Kind("price[]", pa.list_(pa.decimal128(8, 3)), ["{1.5,NULL}"]),
    Kind("days", pa.list_(pa.date32()), ["{2024-01-01,infinity}"]),
    Kind("numrange[]", pa.list_(TEXT), ['{"[1,2)"}']),
    Kind("box[]", TEXT, ["{(1,1),(0,0);(3,3),(2,2)}"]),
    Kind("integer[][]", TEXT, ["{{1,2},{3,4}}", "[0:1]={1,2}"]),
    Kind("vector", pa.list_(pa.float32()), ["[1,-0,1e-45]"], needs="vector"),
    Kind("halfvec(2)", pa.list_(pa.float32()), ["[0.1,65504]"], needs="vector"),
    Kind("sparsevec(5)", TEXT, ["{1:1.5,3:2}/5"], needs="vector"),
    Kind("geometry", TEXT, ["SRID=4326;POINT(1 2)", "POINT EMPTY"], needs="postgis"),
]  # fmt: skip


def prepare(db):
    """Makes the types; returns those that this server has."""
    db.run(*PREPARE)
    there = {row[0] for row in db.connection.execute("SELECT name FROM pg_available_extensions").fetchall()}
    with suppress(psycopg.errors.FeatureNotSupported):
        db.run("SELECT '<a/>'::xml")
        there.add("xml")
    for extension in ("vector", "postgis"):
        if extension in there:
            db.run(f"CREATE EXTENSION {extension}")
    return [kind for kind in KINDS if not kind.needs or kind.needs in there]


def bits(array):
    """What an Arrow array holds, to the last bit: NaN equals itself, and -0.0 is not 0.0."""
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    if pa.types.is_list(array.type):
        return array.is_valid().to_pylist(), array.value_lengths().to_pylist(), bits(array.flatten())
    if pa.types.is_floating(array.type):
        array = array.view(pa.int32() if array.type == pa.float32() else pa.int64())
    elif pa.types.is_date32(array.type):
        array = array.cast(pa.int32())
    elif pa.types.is_temporal(array.type):
        array = array.cast(pa.int64())
    return array.to_pylist()
