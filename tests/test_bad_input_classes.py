"""Every class of bad files that is answered is shown by rows and tests, so that none can lose them unnoticed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.problem_tables import DATA, TABLES, bad_files, bad_runs, lines_of

TESTS = Path(__file__).parent
COMMANDS = YAML(typ="safe", pure=True).load((DATA / "bad_commands.yaml").read_text(encoding="utf-8"))


def classes() -> dict[str, list[str]]:
    """Where each class of bad input is shown, as `table: row` and `test_file: test`."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in lines_of("bad_input_classes.txt"):
        if line.startswith("  "):
            found[name].append(line.strip())
        else:
            name = line
            assert name not in found
            found[name] = []
    return found


def shown_by(source: str) -> set[str]:
    """The titles of a table's rows, or the names of a file's tests."""
    if source.startswith("test_"):
        text = (TESTS / f"{source}.py").read_text(encoding="utf-8")
        return set(re.findall(r"^(?:async )?def (test_\w+)\(", text, re.MULTILINE))
    if source.startswith("expression_"):
        return {re.split(" !! | => ", line)[0] for line in lines_of(f"{source}.txt")}
    if source == "bad_input_runs":
        return {case.title for case in bad_runs()}
    if source == "bad_commands":
        return {row["title"] for row in COMMANDS["commands"]}
    return {case.title for case in bad_files(f"{source}.txt")}


CLASSES = classes()
SHOWN = {
    source: shown_by(source)
    for source in {place.split(": ", 1)[0] for places in CLASSES.values() for place in places}
}


@pytest.mark.parametrize("name", CLASSES)
def test_each_class_is_shown_twice_at_places_that_exist(name: str):
    places = CLASSES[name]

    assert len(set(places)) >= 2
    for place in places:
        source, title = place.split(": ", 1)
        assert title in SHOWN[source], place


@pytest.mark.parametrize("table", TABLES)
def test_each_row_of_a_table_has_a_title_of_its_own(table: str):
    titles = [case.title for case in bad_files(table)]

    assert sorted(titles) == sorted(set(titles))
