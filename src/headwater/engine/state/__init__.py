"""What an engine remembers between epochs: rows by key, in memory, with checkpoints on disk."""
