"""Iceberg tables through PyIceberg: merge-on-read, one table snapshot per epoch."""

from headwater.lake.iceberg.lake import IcebergLake

__all__ = ["IcebergLake"]
