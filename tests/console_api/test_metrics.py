"""/metrics: what a running project exports, read by Prometheus's own parser."""

import re

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from scripted_project import inserts, wait_until

from headwater.console.metrics import METRICS, reference

BASE_UNITS = ("_seconds", "_bytes", "_ratio", "_records", "_rows", "_total", "_info")


def samples(console, metric, /, **labels):
    """The values of a metric's samples with these labels."""
    text = console.http.get("/metrics").text
    return [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == metric and labels.items() <= sample.labels.items()
    ]


def test_records_by_stream_and_outcome(console):
    before = samples(console, "headwater_stream_records_total", stream="orders", outcome="read")[0]
    console.shop.source.add(inserts(100, 1001, 1002, 1003))
    wait_until(
        lambda: samples(console, "headwater_stream_records_total", stream="orders", outcome="read") == [before + 3],
        "three more",
    )
    wait_until(
        lambda: samples(console, "headwater_stream_records_total", stream="orders", outcome="rejected") == [2.0],
        "two rejected",
    )
    assert samples(console, "headwater_accounting_holds") == [1.0]
    assert samples(console, "headwater_source_connected", source="shop") == [1.0]
    assert samples(console, "headwater_rejects", stream="orders", stage="decode", state="open") == [2.0]
    assert samples(console, "headwater_account_difference_records", kind="stream", name="orders") == [0.0]


def test_histograms_count_what_was_done(console):
    for name in ("headwater_log_append_seconds", "headwater_log_fsync_seconds", "headwater_epoch_duration_seconds"):
        (count,) = samples(console, f"{name}_count")
        assert count >= 1
        assert samples(console, f"{name}_bucket", le="+Inf") == [count]
        assert 0 < samples(console, f"{name}_sum")[0] < 3600


def test_both_text_formats_are_well_formed(console):
    for kind, parse in (("text/plain", text_string_to_metric_families), ("application/openmetrics-text", openmetrics)):
        answer = console.http.get("/metrics", headers={"Accept": kind})
        assert answer.headers["content-type"].startswith(kind)
        families = {family.name for family in parse(answer.text)}
        assert {"headwater_stream_records", "headwater_model_rows", "process_resident_memory_bytes"} <= families


def test_a_token_is_needed(console):
    assert console.http.get("/metrics", headers={"Authorization": ""}).status_code == 401


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_follow_the_rules(metric):
    assert re.fullmatch(r"[a-z][a-z0-9_]*", metric.name)
    assert not {"id", "epoch", "position", "key"} & set(metric.labels)
    unit = re.search(r"_(ms|us|milliseconds|minutes|kb|mb|percent)(_|$)", metric.name)
    assert unit is None, "base units alone"
    assert metric.kind != "counter" or not metric.name.endswith("_total")
    assert reference()[metric.exposed] is metric
