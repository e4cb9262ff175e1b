"""What the settings of all databases that are captured have in common. Light: forms and CLI flags come from here."""

from __future__ import annotations

from typing import Literal

SchemaPolicy = Literal["evolve", "additive", "stop"]
SCHEMA_POLICY = (
    "What goes on by itself when a table's definition changes. evolve: all that can be followed; a table is read anew "
    "where its rows are not known after the change. additive: new columns and wider types. stop: nothing. What does "
    "not go on by itself stops the source until it is decided."
)

SnapshotMode = Literal["initial", "when_needed", "always", "schema_only", "never"]
SNAPSHOT_MODE = (
    "initial: read the tables whole before following their changes. when_needed: also begin again by itself when "
    "changes were lost ({lost}, for instance). always: also read them again at every start, while following their "
    "changes. schema_only: begin with empty tables; `headwater snapshot` fills them. never: as schema_only, and no row "
    "of a table is ever read, on request either."
)
