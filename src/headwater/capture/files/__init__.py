"""Files as a source: logs that grow and are rotated, and files that are put into a folder."""
