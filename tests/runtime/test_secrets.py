"""No secret of a project in what its run writes, whatever an exception says: the log of events, status, traceback."""

import io

import pytest
from scripted_project import EVENTS, ORDERS, Shop

from headwater.redaction import Secrets, redacted
from headwater.runtime.journal import Journal
from headwater.testing.scripted_source import ScriptedSource


@pytest.mark.parametrize(
    "text",
    [
        "cannot reach postgresql://ann:s3cr3t@db/shop",
        'connection to "db" failed: host=db password=s3cr3t user=ann',
        "host=db password='s3cr3t' user=ann",
        "KeyError: 's3cr3t'",
        "postgresql://ann@db/shop?password=s3cr3t&sslmode=require",
    ],
)
def test_a_text_is_masked(text):
    assert "s3cr3t" not in Secrets(["postgresql://ann:s3cr3t@db/shop"]).mask(text)


def test_an_encoded_password_is_known_in_both_forms():
    secrets = Secrets(["postgresql://ann:p%40ss%2Fword@db/shop"])
    assert secrets.mask("p@ss/word") == "***" and "p%40ss" not in secrets.mask("bad p%40ss%2Fword")


def test_references_and_plain_words_stay():
    assert redacted("url: postgresql://ann:${PASSWORD}@db/shop") == "url: postgresql://ann:${PASSWORD}@db/shop"
    assert Secrets(["ab"]).mask("about") == "about"


class Broken(ScriptedSource):
    """A source with a bug that shows its url."""

    def open(self, resume, decision=None):
        raise ValueError("no host in postgresql://ann:s3cr3t@db/shop, nor with s3cr3t")


def test_an_unforeseen_exception_shows_no_password(tmp_path):
    shop = Shop(tmp_path / "shop")
    settings = shop.folder / "headwater.yml"
    settings.write_text(settings.read_text().replace("postgresql://nowhere", "postgresql://ann:s3cr3t@nowhere"))
    shop.source = Broken("shop", [ORDERS, EVENTS])
    error = shop.supervisor(once=True).run()
    assert error is not None and "no host in" in error.message and "s3cr3t" not in error.message
    assert "no host in" in shop.log.getvalue() and "s3cr3t" not in shop.log.getvalue()
    files = [path.read_text(errors="replace") for path in shop.state.rglob("*") if path.is_file()]
    assert sum("no host in" in text for text in files) == 2, "the status and the traceback say what happened"
    assert not any("s3cr3t" in text for text in files)


def test_the_journal_masks_what_it_is_told():
    out = io.StringIO()
    journal = Journal(out, as_json=True)
    journal.secrets = Secrets(["hunter22"])
    journal.write("x", error="the token hunter22 is wrong")
    assert "hunter22" not in out.getvalue()
