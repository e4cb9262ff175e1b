"""Plain Parquet datasets: a folder of files per version, which any reader of Parquet can read."""
