"""T-IC-04: a Headwater that was paused and comes back does not commit over the one that took its place."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from lake_model import KEYED, MULTISET, agree, delta, open_lake, snapshot_epochs

from headwater.errors import InvariantBroken
from headwater.lake.table_format import TableSpec


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_a_process_that_was_paused_stops(tmp_path: Path, epochs: int) -> None:
    """Whether its successor has committed the zombie's next epoch, or more, or replaced what there was."""
    command = [sys.executable, str(Path(__file__).with_name("zombie_writer.py")), str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as zombie:
        assert zombie.stdout is not None and zombie.stdout.readline() == "committed\n"
        zombie.send_signal(signal.SIGSTOP)
        lake = open_lake(tmp_path)
        table, expected = lake.table(KEYED), Counter({(1, "zombie", 1.0): 1})
        for epoch in range(2, 2 + epochs):
            table.commit(epoch, delta([((10 * epoch, "successor", 1.0), 1)]), {})
            expected[(10 * epoch, "successor", 1.0)] += 1
        zombie.send_signal(signal.SIGCONT)
        _, said = zombie.communicate("go on\n", timeout=60)
        assert zombie.returncode != 0 and "InvariantBroken" in said
        assert "another Headwater" in said or "comes too late" in said
    agree(lake, table, expected)
    table.commit(9, delta([((9, "successor", 1.0), 1)]), {})
    assert snapshot_epochs(lake, KEYED.name)[-1] == 9
    lake.close()


@pytest.mark.parametrize("spec", [KEYED, MULTISET], ids=["keyed", "multiset"])
def test_two_writers_of_one_table_do_not_both_go_on(tmp_path: Path, spec: TableSpec) -> None:
    one, other = open_lake(tmp_path), open_lake(tmp_path)
    first, second = one.table(spec), other.table(spec)
    first.commit(1, delta([((1, "a", None), 1)]), {})
    with pytest.raises(InvariantBroken, match="another Headwater"):
        second.commit(2, delta([((2, "b", None), 1)]), {})
    with pytest.raises(InvariantBroken, match=r"another Headwater|comes too late"):
        second.stage(2, delta([((2, "b", None), 1)]))
        second.commit(2, delta([]), {})
    second.forget_staged()
    agree(one, first, Counter([(1, "a", None)]))
    one.close()
    other.close()
