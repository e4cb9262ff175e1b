"""Generators of the user's own as sources."""
