"""Lines of fields as columns."""
