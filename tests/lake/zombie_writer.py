"""A Headwater that commits an epoch, says so, waits for a line, and commits the next: `zombie_writer.py FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from lake_model import KEYED, delta, open_lake

if __name__ == "__main__":
    table = open_lake(Path(sys.argv[1])).table(KEYED)
    table.commit(1, delta([((1, "zombie", 1.0), 1)]), {})
    sys.stdout.write("committed\n")
    sys.stdout.flush()
    sys.stdin.readline()
    for epoch in (2, 3):
        table.commit(epoch, delta([((epoch, "zombie", 2.0), 1)]), {})
