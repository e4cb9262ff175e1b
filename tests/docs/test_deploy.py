"""What lies in deploy/: every metric that dashboard and alert rules name is exported, every command is there."""

import json
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from headwater.cli.app import COMMANDS
from headwater.console.metrics import METRICS

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
EXPORTED = {metric.exposed: set(metric.labels) for metric in METRICS}
for histogram in [metric for metric in METRICS if metric.kind == "histogram"]:
    for part in ("_bucket", "_sum", "_count"):
        EXPORTED[histogram.exposed + part] = {*histogram.labels, "le"}
SCRAPED = {"job", "instance"}  # labels that Prometheus adds


def dashboard_expressions():
    panels = json.loads((DEPLOY / "grafana" / "headwater.json").read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def rules():
    groups = YAML(typ="safe").load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.mark.parametrize("expression", [*dashboard_expressions(), *(rule["expr"] for rule in rules())])
def test_every_metric_and_label_is_exported(expression):
    named = re.findall(r"\b(headwater_\w+)(?:\{([^}]*)\})?", expression)
    assert named or re.search(r"\b(process_|up\b)", expression)
    for name, selectors in named:
        assert name in EXPORTED, name
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selectors))
        assert labels <= EXPORTED[name] | SCRAPED, (name, labels)


def test_alerts_say_what_is_and_what_to_do():
    known = {command.name for command in COMMANDS}
    for rule in rules():
        assert {"summary", "runbook"} <= set(rule["annotations"]), rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning")
        for command in re.findall(r"headwater ([a-z]+)\b", rule["annotations"]["runbook"]):
            assert command in known, command
        named = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        metric = re.search(r"headwater_\w+", rule["expr"])
        assert named <= SCRAPED | (EXPORTED[metric[0]] if metric else set()), rule["alert"]


def test_the_panels_do_not_overlap():
    panels = json.loads((DEPLOY / "grafana" / "headwater.json").read_text())["panels"]
    taken = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_the_unit_starts_commands_that_there_are():
    unit = (DEPLOY / "systemd" / "headwater@.service").read_text()
    for command in re.findall(r"^Exec\w+=\S+/headwater (\w+)", unit, flags=re.M):
        assert command in {one.name for one in COMMANDS}
    assert "run --log json" in unit
