"""The tables of bad files: one line a case, `code@line:column … | what is wrong | the text as a Python string`."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

TABLES = ("workflow_problems.txt", "task_problems.txt", "root_problems.txt", "yaml_problems.txt")
DATA = Path(__file__).parent / "data"
LONG = {
    "DIGITS5000": "9" * 5_000,
    "OPEN10000": "[" * 10_000,
    "BRACES10000": "{" * 10_000,
    "DASHES3000": "- " * 3_000,
    "VALUE200000": "v" * 200_000,
    "LEVELS3000": "".join(f"{' ' * level}a:\n" for level in range(1, 3_001)),
}
"""What is too long for a line of a table, by the word that stands for it."""


@frozen
class BadFile:
    """A text that does not load, and what is wrong with it."""

    problems: str  #: each as code@line:column, in order
    title: str
    text: str


def bad_files(table: str) -> list[BadFile]:
    """The cases of a table of files that do not load, in its order."""
    return [_bad_file(line) for line in lines_of(f"spec/{table}")]


def bad_runs() -> list[BadFile]:
    """The files that load and whose run ends badly; `problems` is the exit status and what the error is of."""
    return [_bad_file(line) for line in lines_of("bad_input_runs.txt")]


def lines_of(table: str) -> list[str]:
    """The lines of a table in `data`, without its comments."""
    lines = (DATA / table).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("# ")]


def _bad_file(line: str) -> BadFile:
    problems, title, raw = line.split(" | ", 2)
    text = raw.encode("latin-1", "backslashreplace").decode("unicode_escape")
    for word, whole in LONG.items():
        text = text.replace(word, whole)
    return BadFile(problems, title, text)
