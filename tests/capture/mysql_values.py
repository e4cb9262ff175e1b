"""MariaDB's types and values at their edges, as SQL expressions, how they are captured, and what does not fit."""

from dataclasses import dataclass

import pyarrow as pa

TEXT = pa.string()


@dataclass(frozen=True)
class Kind:
    """A type: as SQL writes it, as Arrow has it, SQL expressions at its edges, and some that Arrow's cannot hold."""

    sql: str
    arrow: pa.DataType
    edges: tuple[str, ...]
    misfits: tuple[str, ...] = ()


def text(*values):
    return tuple("'" + value.replace("'", "''").replace("\\", "\\\\") + "'" for value in values)


def integer(sql, arrow, bits, signed):
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return Kind(sql, arrow, tuple(map(str, (low, low + 1, 0, 1, high - 1, high))))


def decimals(precision, scale):
    whole, part = "9" * (precision - scale) or "0", "9" * scale
    biggest = f"{whole}.{part}" if scale else whole
    smallest = "0." + "0" * (scale - 1) + "1" if scale else "1"
    return (biggest, "-" + biggest, smallest, "-" + smallest, "0", "-0.5" if scale else "-7")


WORDS = ("", "a", "ab ", " żółw 🐢 ", "\t\n\\'\"", "\x00z", "x" * 60)
LETTERS = {
    "latin1": ("€é\x81ÿ", "plain"),
    "latin2": ("łąŽ", ""),
    "cp1251": ("Привет", "x"),
    "koi8u": ("Привіт", "x"),
    "greek": ("αβγ", "x"),
    "gbk": ("汉字漢", "a汉"),
    "gb2312": ("汉字", "a"),
    "big5": ("漢字", "a碁"),
    "sjis": ("日本ｱ\\", "a"),
    "cp932": ("日本①", "a"),
    "ujis": ("日本ｱ丂", "a"),
    "eucjpms": ("日本①纊", "a"),
    "euckr": ("한글갂", "a"),
    "tis620": ("ไทย", "a"),
    "swe7": ("ÄÖÅ", "a"),
    "armscii8": ("Հայ", "a"),
    "ucs2": ("żą", ""),
    "utf16": ("🐢ż", ""),
    "utf16le": ("🐢ż", "a"),
    "utf32": ("🐢ż", "a"),
    "utf8mb3": ("żółw", ""),
    "ascii": ("plain", ""),
}

KINDS = [
    integer("tinyint", pa.int8(), 8, True),
    integer("tinyint unsigned", pa.uint8(), 8, False),
    integer("smallint", pa.int16(), 16, True),
    integer("smallint unsigned", pa.uint16(), 16, False),
    integer("mediumint", pa.int32(), 24, True),
    integer("mediumint unsigned", pa.uint32(), 24, False),
    integer("int", pa.int32(), 32, True),
    integer("int unsigned", pa.uint32(), 32, False),
    integer("int(8) zerofill", pa.uint32(), 32, False),
    integer("bigint", pa.int64(), 64, True),
    integer("bigint unsigned", pa.uint64(), 64, False),
    Kind("bool", pa.int8(), ("true", "false", "17")),
    Kind("year", pa.int16(), ("1901", "2155", "0", "2024")),
    Kind("float", pa.float32(), ("0", "-0e0", "0.1", "-3.4028235e38", "1e-45", "16777217", "1.17549435e-38")),
    Kind("float unsigned", pa.float32(), ("0", "0.1", "3.4028235e38")),
    Kind("double", pa.float64(), ("0", "-0e0", "0.1", "-1.7976931348623157e308", "5e-324", "9007199254740993", "1/3")),
    Kind("double(10,3)", pa.float64(), ("0", "0.1", "1234567.891")),
    Kind("decimal(1,0)", pa.decimal128(1, 0), decimals(1, 0)),
    Kind("decimal(9,9)", pa.decimal128(9, 9), decimals(9, 9)),
    Kind("decimal(10,2)", pa.decimal128(10, 2), decimals(10, 2)),
    Kind("decimal(18,9) unsigned", pa.decimal128(18, 9), ("0", "999999999.999999999", "0.000000001")),
    Kind("decimal(38,0)", pa.decimal128(38, 0), decimals(38, 0)),
    Kind("decimal(38,30)", pa.decimal128(38, 30), decimals(38, 30)),
    Kind("decimal(39,10)", TEXT, decimals(39, 10)),
    Kind("decimal(65,30)", TEXT, decimals(65, 30)),
    Kind("bit(1)", pa.bool_(), ("b'0'", "b'1'")),
    Kind("bit(9)", pa.uint64(), ("b'0'", "b'1'", "b'111111111'")),
    Kind("bit(64)", pa.uint64(), ("0", "1", "18446744073709551615")),
    Kind(
        "date",
        pa.date32(),
        text("1000-01-01", "1969-12-31", "1970-01-01", "2000-02-29", "9999-12-31", "0001-01-01"),
        text("0000-00-00", "2020-00-10", "2020-05-00", "0000-01-00"),
    ),
    *(
        Kind(
            f"time({digits})",
            pa.time64("us"),
            text("00:00:00", "23:59:59", "00:00:00.999999", "12:34:56.123456", "23:59:59.9"[: 8 + (digits > 1) * 2]),
            text("-00:00:01", "-00:00:00.5", "24:00:00", "838:59:59", "-838:59:59", "-12:34:56.789012")[digits == 0 :],
        )
        for digits in (0, 1, 2, 3, 4, 5, 6)
        if digits != 0
    ),
    Kind("time", pa.time64("us"), text("00:00:00", "23:59:59"), text("-00:00:01", "24:00:00", "838:59:59")),
    *(
        Kind(
            f"datetime({digits})",
            pa.timestamp("us"),
            text("1000-01-01 00:00:00", "9999-12-31 23:59:59", "2020-02-29 12:34:56.123456", "1969-12-31 23:59:59"),
            text("0000-00-00 00:00:00", "2020-00-10 01:02:03", "2020-02-00 00:00:00"),
        )
        for digits in (0, 1, 2, 3, 4, 5, 6)
    ),
    *(
        Kind(
            f"timestamp({digits}) null",
            pa.timestamp("us", tz="UTC"),
            text("1970-01-01 00:00:01", "2038-01-19 03:14:07", "2020-02-29 12:34:56.123456"),
            text("0000-00-00 00:00:00"),
        )
        for digits in (0, 1, 2, 3, 4, 5, 6)
    ),
    Kind("char(60)", TEXT, text(*WORDS)),
    Kind("char(255)", TEXT, (*text(*WORDS), "repeat('ż', 255)")),
    Kind("varchar(60)", TEXT, text(*WORDS)),
    Kind("varchar(300)", TEXT, (*text(*WORDS), "repeat('🐢', 300)")),
    *(Kind(sql, TEXT, text(*WORDS)) for sql in ("tinytext", "text", "mediumtext", "longtext")),
    Kind("longtext", TEXT, ("repeat('żx', 70000)",)),
    *(Kind(f"varchar(20) character set {name}", TEXT, text(*values)) for name, values in LETTERS.items()),
    *(Kind(f"char(20) character set {name}", TEXT, text(*LETTERS[name])) for name in ("latin1", "sjis", "utf16")),
    *(Kind(f"text character set {name}", TEXT, text(*LETTERS[name])) for name in ("gbk", "utf32")),
    Kind("enum('a','b''c','ü','x,y') character set latin1", TEXT, (*text("a", "b'c", "ü", "x,y"), "0")),
    Kind("enum(" + ",".join(f"'v{i}'" for i in range(300)) + ")", TEXT, text("v0", "v255", "v299")),
    Kind(
        r"enum('a\\b','x\ny','q\'\'r','t\tz','n\0u','\r','(p)','c,d','end)')",
        TEXT,
        tuple(map(str, range(1, 10))),
    ),
    Kind(r"set('a\\b','(x','y)')", TEXT, ("1", "7", "0")),
    Kind("set('x','y','zé')", TEXT, text("", "x", "zé", "x,zé", "x,y,zé")),
    Kind("set(" + ",".join(f"'v{i}'" for i in range(64)) + ")", TEXT, text("", "v0", "v63", "v0,v31,v63")),
    Kind("binary(5)", pa.binary(), ("x''", "x'00'", "x'6100'", "x'0102030405'", "x'ffffffff00'")),
    Kind("varbinary(300)", pa.binary(), ("x''", "x'00'", "x'6100'", "repeat(x'ff', 300)")),
    *(Kind(sql, pa.binary(), ("x''", "x'00ff'")) for sql in ("tinyblob", "blob", "mediumblob", "longblob")),
    Kind("blob", pa.binary(), ("repeat(x'00ff', 20000)",)),
    Kind("json", TEXT, text('{"b": 1, "a":[1,2.50,null]}', "null", '"ż"', "[]")),
    Kind(
        "geometry",
        pa.binary(),
        (
            "ST_GeomFromText('POINT(1 2)')",
            "ST_GeomFromText('POINT(1 -2)', 4326)",
            "ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))', 3857)",
            "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))', 4326)",
        ),
    ),
    Kind("point", pa.binary(), ("ST_GeomFromText('POINT(0 0)')",)),
    Kind("uuid", TEXT, text("123e4567-e89b-12d3-a456-426655440000", "00000000-0000-0000-0000-000000000000")),
    Kind("uuid", TEXT, text("ffffffff-ffff-ffff-ffff-ffffffffffff", "0188e2a1-0000-7000-8000-000000000000")),
    Kind("inet6", TEXT, text("::", "::1", "2001:db8::1", "::ffff:1.2.3.4", "::1.2.3.4", "1:0:0:2::", "fe80::1:0:0:1")),
    Kind("inet4", TEXT, text("0.0.0.0", "255.255.255.255", "1.2.3.0")),
    Kind("varchar(2000) compressed", TEXT, (*text("", "x"), "repeat('abc', 300)", "repeat('ż', 2000)")),
    Kind("text compressed character set latin1", TEXT, (*text("é"), "repeat('é', 3000)")),
    Kind("blob compressed", pa.binary(), ("x''", "x'00'", "repeat(x'00ff', 9000)")),
]
