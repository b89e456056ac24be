"""A strict reader of the part of DOT that is written: https://graphviz.org/doc/info/lang.html."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from attrs import define, field

_TOKEN = re.compile(r'\s*(->|[{}\[\]=;,]|"(?:[^"\\]|\\.)*"|[A-Za-z_][A-Za-z0-9_]*|\Z)', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"\\": "\\", "n": "\n"}


@define
class DotGraph:
    """What a program that reads DOT finds: labels of nodes, edges with their labels, and who is in which cluster."""

    labels: dict[str, str] = field(factory=dict[str, str])
    edges: list[tuple[str, str, str]] = field(factory=list[tuple[str, str, str]])
    clusters: dict[str, tuple[str, list[str]]] = field(factory=dict[str, tuple[str, list[str]]])
    barriers: list[tuple[str, str]] = field(factory=list[tuple[str, str]])


def read_dot(source: str) -> DotGraph:
    """Read a digraph; ValueError where it is none."""
    tokens = _tokens(source)
    for expected in ("digraph", "workflow", "{"):
        _take(tokens, expected)
    found = DotGraph()
    _statements(tokens, found, None)
    if tokens != [""]:
        raise ValueError(f"more behind the end: {tokens}")
    return found


def _tokens(source: str) -> list[str]:
    """The tokens, the first one last; an empty one is the end."""
    tokens: list[str] = []
    position = 0
    while not tokens or tokens[-1]:
        match = _TOKEN.match(source, position)
        if match is None:
            raise ValueError(f"no token at {source[position : position + 20]!r}")
        position = match.end()
        tokens.append(match[1])
    return tokens[::-1]


def _take(tokens: list[str], expected: str) -> None:
    token = tokens.pop()
    if token != expected:
        raise ValueError(f"{token!r} where {expected!r} should be")


def _statements(tokens: list[str], found: DotGraph, cluster: str | None) -> None:
    while (word := tokens.pop()) != "}":
        if word == "subgraph":
            name = tokens.pop()
            _take(tokens, "{")
            found.clusters[name] = ("", [])
            _statements(tokens, found, name)
            continue
        if tokens[-1] == "=":
            tokens.pop()
            value = tokens.pop()
            if word == "label" and cluster is not None:
                found.clusters[cluster] = (_text(value), found.clusters[cluster][1])
        elif tokens[-1] == "->":
            tokens.pop()
            _edge(found, word, tokens.pop(), dict(_attributes(tokens)))
        else:
            _node(found, cluster, word, dict(_attributes(tokens)))
        _take(tokens, ";")


def _node(found: DotGraph, cluster: str | None, name: str, attributes: dict[str, str]) -> None:
    if name == "node":
        return
    if name in found.labels:
        raise ValueError(f"{name} is there twice")
    found.labels[name] = _text(attributes["label"])
    if cluster is not None:
        found.clusters[cluster][1].append(name)


def _edge(found: DotGraph, source: str, target: str, attributes: dict[str, str]) -> None:
    if "ltail" in attributes:
        found.barriers.append((attributes["ltail"], attributes["lhead"]))
    else:
        found.edges.append((source, target, _text(attributes.get("label", '""'))))


def _attributes(tokens: list[str]) -> Iterator[tuple[str, str]]:
    _take(tokens, "[")
    while True:
        name = tokens.pop()
        _take(tokens, "=")
        yield name, tokens.pop()
        if tokens.pop() == "]":
            return


def _text(token: str) -> str:
    """What a quoted string shows as a label."""
    if not token.startswith('"'):
        raise ValueError(f"{token!r} is no quoted string")
    inner = re.sub(r'\\(["\\])', lambda match: '"' if match[1] == '"' else "\\\\", token[1:-1])
    return html.unescape(_ESCAPE.sub(lambda match: _ESCAPED[match[1]], inner))
