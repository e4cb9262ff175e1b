"""`headwater explain`: how a model is kept up to date, before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from headwater.cli import output

PROJECT = "name: shop\nsources:\n  shop:\n    type: postgres\n    url: ${SHOP_URL}\n    connect_timeout_s: 2\n"
TOTAL = "SELECT country, count(*) AS customers FROM customers GROUP BY country"
LARGEST = "SELECT max(customers) AS most FROM total"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    (tmp_path / "headwater.yml").write_text(PROJECT)
    (tmp_path / "models" / "total.sql").write_text(TOTAL)
    (tmp_path / "models" / "largest.sql").write_text(LARGEST)
    return tmp_path


def test_a_model_is_explained(
    folder: Path, shop: str, run: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_URL", shop)
    done = run("explain", "total", folder)
    assert (done.code, done.err) == (output.OK, "")
    assert done.out.startswith("key: country\n")
    assert "aggregate by key: rows" in done.out
    assert "scan customers" in done.out
    over_a_model = run("explain", "largest", folder)
    assert over_a_model.code == output.OK
    assert "aggregate all: max" in over_a_model.out
    assert "scan total" in over_a_model.out


def test_what_cannot_be_explained(folder: Path, run: Callable[..., object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_URL", "postgresql://u:hunter2@127.0.0.1:1/shop")
    unknown = run("explain", "totals", folder)
    assert unknown.code == output.FAILED
    assert "there is no model 'totals'" in unknown.err
    assert "did you mean 'total'?" in unknown.err
    away = run("explain", "total", folder)
    assert away.code == output.UNREACHABLE
    assert "hunter2" not in away.err
