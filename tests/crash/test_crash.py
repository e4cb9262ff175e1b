"""A short crash campaign, as `make crash` runs it; and that a campaign finds a bug that is there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def campaign(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.crash", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200, check=False)


def test_killed_at_random_instants_and_at_failpoints_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    figures = tmp_path / "crash.json"
    done = campaign("--runs", "1", "--failpoints", "3", "--workers", "2", "--results", str(figures))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(figures.read_text(encoding="utf-8"))
    assert found["cases"] == found["passed"] == 4
    assert found["failpoints_met"] >= 3
    assert found["kills"] >= 4
    assert found["lost"] == found["doubled"] == found["broken"] == 0


def test_with_mariadb_as_the_source_nothing_is_lost_or_doubled_either(tmp_path: Path) -> None:
    figures = tmp_path / "crash.json"
    options = ("--scenario", "mysql", "--runs", "1", "--failpoints", "2", "--workers", "1")
    done = campaign(*options, "--results", str(figures))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(figures.read_text(encoding="utf-8"))
    assert found["cases"] == found["passed"] == 3
    assert found["changes"] > 100
    assert found["lost"] == found["doubled"] == found["broken"] == 0


@pytest.mark.xdist_group("rabbitmq")
def test_with_rabbitmq_as_the_source_nothing_is_lost_or_doubled_either(tmp_path: Path) -> None:
    figures = tmp_path / "crash.json"
    options = ("--scenario", "rabbitmq", "--only", "capture.confirm.before:3", "--workers", "1")
    done = campaign(*options, "--results", str(figures))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(figures.read_text(encoding="utf-8"))
    assert found["cases"] == found["passed"] == 1
    assert found["changes"] > 50
    assert found["lost"] == found["doubled"] == found["broken"] == 0


@pytest.mark.xdist_group("kafka")
def test_with_kafka_as_the_source_nothing_is_lost_or_doubled_either(tmp_path: Path) -> None:
    figures = tmp_path / "crash.json"
    options = ("--scenario", "kafka", "--runs", "1", "--failpoints", "1", "--workers", "1")
    done = campaign(*options, "--results", str(figures))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(figures.read_text(encoding="utf-8"))
    assert found["cases"] == found["passed"] == 2
    assert found["changes"] > 50
    assert found["lost"] == found["doubled"] == found["broken"] == 0


def test_an_offset_that_is_committed_before_the_fsync_is_found() -> None:
    options = ("--scenario", "kafka", "--seeded-bug", "confirm-before-fsync", "--only", "log.append.before:1")
    done = campaign(*options)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "       lost: " in done.stdout


def test_a_message_that_is_acknowledged_before_the_fsync_is_found_to_be_lost() -> None:
    options = ("--scenario", "rabbitmq", "--seeded-bug", "confirm-before-fsync", "--only", "log.append.before:1")
    done = campaign(*options)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "       lost: " in done.stdout


def test_killed_beside_maintenance_every_reader_sees_the_source_and_no_file_is_left_over() -> None:
    done = campaign("--scenario", "lake", "--only", "lake.rewrite.after_write:1", "--workers", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok     1/1 lake.rewrite.after_write:1" in done.stdout


def test_clients_that_send_again_until_they_are_answered_have_everything_there_once() -> None:
    done = campaign("--scenario", "http", "--only", "capture.http.keys_stored:3", "--workers", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok     1/1 capture.http.keys_stored:3" in done.stdout


def test_a_key_that_is_not_as_durable_as_its_records_is_found_out() -> None:
    options = ("--scenario", "http", "--only", "capture.confirm.before:1", "--workers", "1")
    done = campaign(*options, "--seeded-bug", "forget-keys")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "       doubled: " in done.stdout


def test_logs_that_grow_and_are_rotated_are_in_the_lake_once() -> None:
    done = campaign("--scenario", "files", "--only", "files.group.after:3", "--workers", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok     1/1 files.group.after:3" in done.stdout


def test_a_place_that_is_behind_its_records_is_found_out() -> None:
    options = ("--scenario", "files", "--seeded-bug", "forget-places", "--only", "log.append.after_fsync:1")
    done = campaign(*options, "--workers", "1")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "       doubled: " in done.stdout


def test_models_sent_on_stand_at_postgresql_and_mariadb_once() -> None:
    done = campaign("--scenario", "deliver", "--only", "deliver.call.after:3", "--workers", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok     1/1 deliver.call.after:3" in done.stdout


@pytest.mark.parametrize(
    ("bug", "failpoint", "kind"),
    [("confirm-before-fsync", "log.append.before:1", "lost"), ("double", "epoch.plan.before:1", "doubled")],
)
def test_a_bug_makes_the_campaign_fail(bug: str, failpoint: str, kind: str) -> None:
    done = campaign("--seeded-bug", bug, "--only", failpoint)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"       {kind}: " in done.stdout
