"""T-IC-07: readers that are not ours see the rows that were written. Spark is in `make readers`."""

import json
from pathlib import Path

import pytest
from tests.readers.example_lake import counted, make, metadata_of
from tests.readers.readers import READERS


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readers")
    return folder, make(folder)


@pytest.mark.parametrize("name", ["keyed", "lines", "parted", "staged", "maintained", "relaid"])
@pytest.mark.parametrize("reader", READERS)
def test_a_table_has_its_rows(lake, reader, name):
    folder, tables = lake
    found = counted(READERS[reader][1](metadata_of(folder, name)))
    assert found == tables[name].rows and sum(found.values()) > 20


def test_the_tables_have_what_readers_stumble_over(lake):
    folder, _ = lake
    metadata = json.loads(Path(metadata_of(folder, "relaid")).read_text())
    assert len({spec["spec-id"] for spec in metadata["partition-specs"]}) == 2
    summary = json.loads(Path(metadata_of(folder, "keyed")).read_text())["snapshots"][-1]["summary"]
    assert int(summary["total-position-deletes"]) > 0
