"""One transaction larger than memory, from PostgreSQL into log and lake."""
