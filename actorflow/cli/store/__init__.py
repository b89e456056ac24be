"""The store of a command: which one is meant, what leaves it, and whether it is healthy."""
