"""Grok patterns: what they compile to, what they find, and what is refused."""

from __future__ import annotations

import pyarrow as pa
import pytest

from headwater.errors import UserError
from headwater.grok.extract import Extractor
from headwater.grok.library import PATTERNS
from headwater.grok.pattern import compile_pattern, read_patterns


def found(pattern: str, line: str, own: dict[str, str] | None = None) -> dict[str, object] | None:
    made = Extractor(compile_pattern(pattern, own)).extract(pa.array([line]))
    if not made.matched[0]:
        return None
    names = [field.name for field in compile_pattern(pattern, own).fields]
    return {n: c[0].as_py() for n, c in zip(names, made.columns, strict=True) if c[0].as_py() is not None}


@pytest.mark.parametrize("name", sorted(PATTERNS))
def test_every_pattern_of_the_library_compiles(name: str) -> None:
    Extractor(compile_pattern(f"%{{{name}}}"))


WHOLE = {
    "INT": (["5", "-12", "+7"], ["x", "1.5"]),
    "NUMBER": (["1", "-1.5", ".5"], ["one", "1.2.3"]),
    "IP": (
        ["10.0.0.1", "::1", "2001:db8::ff00:42:8329", "::ffff:10.0.0.1", "fe80::1%eth0"],
        ["10.0.0.256", "10:20:30"],
    ),
    "IPV6": (["1:2:3:4:5:6:7:8", "::"], ["1:2:3", "12345::"]),
    "MAC": (["00:1b:63:84:45:e6", "00-1B-63-84-45-E6", "001b.6384.45e6"], ["00:1b:63"]),
    "HOSTNAME": (["example.com", "a", "x-1.example.co.uk."], ["-a", "a..b"]),
    "UUID": (["550e8400-e29b-41d4-a716-446655440000"], ["550e8400"]),
    "HTTPDATE": (["10/Oct/2000:13:55:36 -0700"], ["10-Oct-2000:13:55:36 -0700"]),
    "TIMESTAMP_ISO8601": (
        ["2026-11-22T01:02:03.456Z", "2026-11-22 01:02", "2026-11-22T01:02:03+01:00"],
        ["2026-13-01T00"],
    ),
    "SYSLOGTIMESTAMP": (["Oct  1 01:02:03", "Nov 22 23:59:59"], ["Foo 1 01:02:03"]),
    "QUOTEDSTRING": (['"a b"', "'x'", r'"a \" b"'], ["a"]),
    "URI": (["https://user:pw@example.com:8080/a/b?c=d", "ftp://x/y"], ["/a/b"]),
    "EMAILADDRESS": (["a.b+c@example.com"], ["@example.com"]),
    "LOGLEVEL": (["INFO", "warn", "Error", "FATAL"], ["LOUD"]),
    "JAVACLASS": (["org.example.Main"], ["1x"]),
    "PATH": (["/usr/lib/x.so", r"C:\Windows\x"], ["usr"]),
}


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_what_a_pattern_takes_whole(name: str) -> None:
    good, bad = WHOLE[name]
    for text in good:
        assert found(rf"\A%{{{name}:x}}\z", text) == {"x": text}
    for text in bad:
        assert found(rf"\A%{{{name}:x}}\z", text) is None, text


LINE = (
    '127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif?x=1 HTTP/1.0" 200 2326 '
    r'"http://www.example.com/start.html" "Mozilla/4.08 \"en\" (Win98; I ;Nav)"'
)


def test_an_access_log_line_becomes_typed_columns() -> None:
    row = found("%{COMBINEDAPACHELOG}", LINE)
    assert row is not None
    assert str(row.pop("timestamp")) == "2000-10-10 20:55:36+00:00"
    assert row == {
        "clientip": "127.0.0.1",
        "auth": "frank",
        "verb": "GET",
        "request": "/apache_pb.gif?x=1",
        "httpversion": "1.0",
        "response": 200,
        "bytes": 2326,
        "referrer": "http://www.example.com/start.html",
        "agent": r"Mozilla/4.08 \"en\" (Win98; I ;Nav)",
    }


def test_a_request_line_that_is_none_is_kept_as_it_is() -> None:
    row = found("%{COMMONAPACHELOG}", r'::1 - - [10/Oct/2000:13:55:36 -0700] "\x16\x03\x01" 400 -')
    assert row is not None
    assert (row["rawrequest"], row["clientip"], row["response"], row.get("bytes")) == (
        r"\x16\x03\x01",
        "::1",
        400,
        None,
    )


def test_syslog() -> None:
    assert found("%{SYSLOGLINE}", "Oct  7 03:04:05 web-1 sshd[812]: Accepted key for x") == {
        "timestamp": "Oct  7 03:04:05",
        "logsource": "web-1",
        "program": "sshd",
        "pid": 812,
        "message": "Accepted key for x",
    }


def test_patterns_of_the_users_own_nested_and_from_a_file() -> None:
    own = read_patterns("# ours\nORDER ord-%{INT}\n\nPAIR %{ORDER:order}/%{WORD:[ship][to]}\n")
    assert found("took %{PAIR} in (?<ms>[0-9]+)", "x took ord-12/Porto in 33", own) == {
        "order": "ord-12",
        "ship_to": "Porto",
        "ms": "33",
    }


def test_a_name_that_stands_twice_is_the_part_that_matched() -> None:
    pattern = "(?:user=%{WORD:who}|uid=%{INT:who})"
    assert found(pattern, "a user=frank") == {"who": "frank"}
    assert found(pattern, "a uid=12") == {"who": "12"}


def test_a_match_in_the_middle_is_found_among_those_at_the_beginning() -> None:
    made = Extractor(compile_pattern("%{INT:a:int}-%{WORD:b}")).extract(
        pa.array(["1-x", "zz 22-yy", "none", None, "3-z"])
    )
    assert made.matched.tolist() == [True, True, False, False, True]
    assert [column.to_pylist() for column in made.columns] == [[1, 22, None, None, 3], ["x", "yy", None, None, "z"]]


def test_a_value_that_its_type_cannot_hold_is_named() -> None:
    made = Extractor(compile_pattern("%{NUMBER:n:int} %{WORD:w}")).extract(pa.array(["1 a", "99999999999999999999 b"]))
    assert made.misfit == ["", "n"]


@pytest.mark.parametrize(
    ("theirs", "line", "expected"),
    [
        (r"(?<x>\h+)", "beef", {"x": "beef"}),
        (r"(?<x>[\hz]+)$", "zbeef", {"x": "zbeef"}),
        (r"(?m)a(?<x>.*)b", "a\nb", {"x": "\n"}),
        (r"^b(?<x>.)$", "a\nbc\nd", {"x": "c"}),
        (r"(?<x>a{,2})b", "aab", {"x": "aa"}),
        (r"(?<x>(?>\d\d)(?>[a-c]))", "12b", {"x": "12b"}),
        (r"(a|b)(?<x>c)", "bc", {"x": "c"}),
        (r"a(?#comment (here)b(?<x>c)", "abc", {"x": "c"}),
        (r"(?i)HELLO (?<x>\w+)", "hello you", {"x": "you"}),
        (r"(?<x>[[:alpha:]]+)[]x]", "ab]", {"x": "ab"}),
        (r"(?'x'a+?)a", "aaa", {"x": "a"}),
    ],
)
def test_what_onigurumas_language_means_is_kept(theirs: str, line: str, expected: dict[str, str]) -> None:
    assert found(theirs, line) == expected


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (r"(?=a)b", "a lookahead"),
        (r"(?<!a)b", "a negative lookbehind"),
        (r"(?>a+)b", "an atomic group"),
        (r"a++b", "a possessive repetition"),
        (r"(?<x>a)\1", r"the backreference \1"),
        (r"\k<x>", "a backreference"),
        (r"[a&&b]", "an intersection"),
        (r"(?x) a", "the group (?x)"),
        (r"%{NOSUCH:x}", "there is no pattern NOSUCH"),
        (r"%{INT:x:colour}", "there is no type 'colour'"),
        (r"%{WORD:x} %{INT:x:int}", "the field x is VARCHAR in one place and BIGINT in another"),
        (r"(?<x>a", "missing )"),
        (r"x{2000}", "repetition size"),
    ],
)
def test_what_cannot_be_done_is_said(pattern: str, said: str) -> None:
    with pytest.raises(UserError) as raised:
        compile_pattern(pattern)
    assert said in raised.value.message


def test_a_pattern_that_uses_itself_is_refused() -> None:
    with pytest.raises(UserError, match="uses itself"):
        compile_pattern("%{A}", {"A": "x%{B}", "B": "%{A}"})


def test_patterns_that_multiply_are_refused() -> None:
    own = {f"P{n}": f"%{{P{n + 1}}}" * 10 for n in range(12)} | {"P12": "x"}
    with pytest.raises(UserError, match="grows beyond"):
        compile_pattern("%{P0}", own)


def test_no_pattern_can_hang() -> None:
    """The classic of exponential time, over a line that would take a backtracking engine longer than the universe."""
    assert found(r"^(?:(?:a+)+)+$", "a" * 50_000 + "b") is None


def test_a_line_of_a_pattern_file_that_is_none_is_named() -> None:
    with pytest.raises(UserError, match="line 2 of the patterns"):
        read_patterns("A x\nB\n")
