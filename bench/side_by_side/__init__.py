"""Headwater beside other engines: the same queries over the same rows on the same cores, and a table of the ratios."""
