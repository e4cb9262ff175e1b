"""A scripted project whose log can be ahead of its tables."""

from __future__ import annotations

from headwater.log.partition import Partition


def to_log(shop, *groups):
    """The groups become durable, as capture would see to, and nothing takes them to the tables yet."""
    shop.source.add(*groups)
    partition = Partition.open(shop.state / "log" / "shop")
    try:
        partition.append(list(groups))
    finally:
        partition.close()
