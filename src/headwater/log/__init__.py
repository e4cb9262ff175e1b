"""The durable log: every change is here, fsynced, before its source is told that it is.

One *partition* per source. `partition.Partition` writes and reads, `view.open_for_reading` reads from another process,
`verification.verify` checks every byte. The byte format has a page, `docs/reference-log-format.md`.
"""
