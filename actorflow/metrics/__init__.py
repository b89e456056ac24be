"""Metrics: what is counted and timed, live and from a journal alike, and how it is told."""
