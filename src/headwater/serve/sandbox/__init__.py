"""SQL of users in a process of its own, that can read the project's tables and do nothing else.

DuckDB is not a sandbox, and a query can take all the memory there is. So the running project never parses or runs SQL
that comes over HTTP. `SqlRoom` keeps a warm process (`keeper`), which forks one process per question (`turn`) behind
limits of the operating system (`walls`), and passes its answer on unread. See
docs/decisions/2026-11-22-sql-room.md.
"""
