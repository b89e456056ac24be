"""Secrets: where they are read, for whom, and how they are kept out of all that is told."""
