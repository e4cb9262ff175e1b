"""How each clause of a SELECT becomes nodes: one file per clause, the alternatives of each in an explicit tuple, best
first."""
