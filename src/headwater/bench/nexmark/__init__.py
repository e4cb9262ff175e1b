"""The Nexmark benchmark: an auction house's people, auctions and bids, and the queries q0 to q23 over them.

The generator follows nexmark/nexmark (Apache-2.0) at commit 6b3646c3; every text is our own.
"""
