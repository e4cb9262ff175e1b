"""From a key to its slot: canonical row bytes and a compiled hash index that compares real keys."""
