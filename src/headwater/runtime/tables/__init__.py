"""Kinds of tables: from what an epoch changed in a stream or model to what it changes in each of its tables."""
