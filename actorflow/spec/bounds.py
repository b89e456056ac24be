"""How much of everything a definition may hold."""

from __future__ import annotations

from attrs import frozen

__all__ = ["Bounds"]


@frozen(kw_only=True)
class Bounds:
    """Limits on what is loaded; each is there so that no file can cost more time and memory than its size explains."""

    file_bytes: int = 8 * 1024 * 1024
    depth: int = 64  #: of mappings and lists inside each other, aliases followed
    added_nodes: int = 100_000  #: what aliases and merge keys may add to what is written out
    second_parse_chars: int = 256_000  #: the pure parser is slow: longer text is judged by the C parser alone
    second_parse_events: int = 25_000  #: likewise: what the pure parser reads in a second
    nodes: int = 600_000  #: of a file: keys, values, ends of mappings and lists; some two seconds of reading
    dict_nodes: int = 5_000_000  #: of a definition given as Python data, shared parts counted each time
    tasks: int = 1_000_000  #: at any depth
