"""The tasks of the source survey: plain functions, run in threads."""

from __future__ import annotations

import ast
import os
from collections import Counter
from pathlib import Path
from typing import Any

from actorflow import AgentCall

BIGGEST = 300_000  # bytes; a generated table of a megabyte says nothing about style
LEFT_OUT = {"site-packages", "test", "tests", "idlelib", "lib2to3"}


def find(call: AgentCall) -> dict[str, Any]:
    """List the files, dealt out into shards of about the same size."""
    folder = Path(call.input["folder"] or Path(os.__file__).parent).resolve()
    files = sorted(
        (path.stat().st_size, str(path))
        for pattern in ("*.py", "*/*.py")
        for path in folder.glob(pattern)
        if path.is_file() and LEFT_OUT.isdisjoint(path.parts)
    )
    kept = [name for size, name in files if size <= BIGGEST]
    shards = call.input["shards"]
    return {"folder": str(folder), "shards": [kept[i::shards] for i in range(shards)]}


def measure(call: AgentCall) -> dict[str, Any]:
    """Count lines, functions and imports of some files."""
    lines = functions = 0
    imports: Counter[str] = Counter()
    longest = ("", 0)
    for name in call.input["files"]:
        text = Path(name).read_text(encoding="utf-8", errors="replace")
        count = text.count("\n") + 1
        lines += count
        longest = max(longest, (name, count), key=lambda pair: pair[1])
        for node in _nodes(text):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions += 1
            elif isinstance(node, ast.Import):
                imports.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imports[node.module.partition(".")[0]] += 1
    return {
        "files": len(call.input["files"]),
        "lines": lines,
        "functions": functions,
        "imports": dict(imports),
        "longest": list(longest),
    }


def _nodes(text: str) -> list[ast.AST]:
    try:
        return list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError):  # sources that are broken on purpose: tests of the parser
        return []


def report(call: AgentCall) -> dict[str, Any]:
    """Add the parts up."""
    parts = call.input["parts"]
    imports: Counter[str] = Counter()
    for part in parts:
        imports.update(part["imports"])
    name, count = max((part["longest"] for part in parts), key=lambda pair: pair[1])
    return {
        "files": sum(part["files"] for part in parts),
        "lines": sum(part["lines"] for part in parts),
        "functions": sum(part["functions"] for part in parts),
        "longest": f"{Path(name).name} ({count} lines)",
        "most_imported": [module for module, _ in imports.most_common(5)],
    }
