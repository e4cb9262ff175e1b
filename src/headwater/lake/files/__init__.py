"""Tables whose versions are lists of Parquet files: what Delta and plain Parquet datasets have in common."""
