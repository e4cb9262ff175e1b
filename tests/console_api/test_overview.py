"""The overview, the graph, the history, and what is told as it happens."""

from scripted_project import inserts, wait_until


def test_the_overview_shows_the_project(console):
    found = console.get("/v1/overview")
    assert found["project"] == "shop" and found["state"] == "running"
    assert {model["name"] for model in found["models"]} == {"totals", "big"}
    assert {table["name"] for table in found["tables"]} >= {"orders", "totals", "big"}
    orders = next(stream for source in found["sources"] for stream in source["streams"] if stream["name"] == "orders")
    assert (orders["read"], orders["landed"], orders["rejected"], orders["holds"]) == (6, 4, 2, True)
    assert found["accounting"] == {"holds": True}
    assert found["rejects"] == {"open": 2, "causes": 1}


def test_what_is_wrong_comes_with_how_to_mend_it(console):
    problems = console.get("/v1/overview")["problems"]
    rejects = next(each for each in problems if each["kind"] == "rejects")
    assert rejects["what"] == "2 rejects wait for a decision"
    assert rejects["mend"] == "headwater rejects ls --by-cause" and rejects["page"] == "/rejects"


def test_a_checkpoint_is_shown_with_its_time(console):
    wait_until(lambda: console.get("/v1/overview")["checkpoint"]["epoch"] is not None, "a checkpoint")
    checkpoint = console.get("/v1/overview")["checkpoint"]
    assert checkpoint["at_us"] > 0 and checkpoint["age_s"] >= 0


def test_a_live_update_comes_without_asking_again(console):
    def wanted(kind, data):
        if kind == "overview" and not sent:
            sent.append(data["sources"][0]["streams"][0]["read"])
            console.shop.source.add(inserts(10, 100, 101, status="new"))
        return kind == "overview" and bool(sent) and data["sources"][0]["streams"][0]["read"] == sent[0] + 2

    sent = []
    console.events(wanted, topics="overview")


def test_the_journal_is_told_from_its_beginning_and_on(console):
    entry = console.events(lambda kind, data: kind == "journal" and data["event"] == "project.starting", after=0)
    assert entry["fields"]["project"] == "shop" and entry["level"] == "info"
    listed = console.get("/v1/journal")["entries"]
    assert [each["number"] for each in listed] == list(range(1, len(listed) + 1))


def test_figures_are_kept_over_time(console):
    console.events(lambda kind, data: kind == "history" and "model:totals:rows_per_s" in data["values"])
    found = console.get("/v1/history")
    assert len(found["at_us"]) == len(found["series"]["source:shop:rows_per_s"]) > 0
    assert console.get("/v1/history", since_us=found["at_us"][-1] + 3_600_000_000)["at_us"] == []


def test_the_graph_goes_from_sources_to_tables(console):
    found = console.get("/v1/graph")
    edges = {(edge["from"], edge["to"]) for edge in found["edges"]}
    assert edges >= {
        ("source:shop", "stream:orders"), ("stream:orders", "table:orders"), ("stream:orders", "model:totals"),
        ("model:totals", "table:totals"),
    }  # fmt: skip
    assert {end for edge in edges for end in edge} <= {node["id"] for node in found["nodes"]}
    rates = {node["id"]: node["rows_per_s"] for node in found["nodes"]}
    assert all(edge["rows_per_s"] == rates[edge["to"]] for edge in found["edges"] if edge["from"] == "source:shop")
