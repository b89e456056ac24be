"""A workflow file that was found good is known again by its bytes, its path and the code that checked it."""

from __future__ import annotations

from pathlib import Path

import pytest
from journal_cases import BODY, STORES, create, ok, store_url

import actorflow.errors
import actorflow.expression
import actorflow.spec
from actorflow.cli import main
from actorflow.errors import Problem, SpecError, StoreDamagedError
from actorflow.journal import CachedDefinition, KeepDefinition, open_journal
from actorflow.journal.protocol import CHECKED_KEPT
from actorflow.runtime import definitions
from actorflow.runtime.definitions import WORTH_BYTES, load_cached, source_key
from actorflow.spec.action_contracts import CONTRACTS, ActionContract
from actorflow.spec.definition import _known, spec_definition
from actorflow.spec.loading import load_with_warnings


def text_of(count: int = 400, more: str = "") -> str:
    """A workflow with a warning."""
    tasks = (f"  task-{n}: {{agent: worker, with: {{n: {n}}}, timeout: {n + 1}s}}\n" for n in range(count))
    return f"name: big\nmodel: some-model\n{more}tasks:\n{''.join(tasks)}"


@pytest.fixture(params=STORES)
def journal(request, tmp_path):
    opened = open_journal(store_url(request.param, tmp_path))
    yield opened
    opened.close()


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "big.yaml"
    path.write_text(text_of())
    return path


@pytest.fixture
def checked(monkeypatch):
    """The files that were checked, in order."""
    files: list[object] = []

    def noting(path, terms):
        files.append(Path(path))
        return load_with_warnings(path, terms=terms)

    monkeypatch.setattr(definitions, "load_with_warnings", noting)
    return files


def test_a_file_that_is_known_is_not_checked_again_and_its_warnings_are_told_again(journal, file, checked):
    first = load_cached(file, journal)
    ok(journal, first.news)
    second = load_cached(file, journal)
    assert (second.loaded, second.news) == (first.loaded, None)
    assert first.loaded == load_with_warnings(file)
    assert first.loaded.warnings
    assert checked == [file]


def test_a_definition_that_is_known_is_not_written_out_again(journal, file):
    first = load_cached(file, journal)
    ok(journal, first.news)
    second = load_cached(file, journal)
    assert second.loaded.spec is not first.loaded.spec
    assert _known[id(second.loaded.spec)][1:] == (first.news.digest, first.news.body)
    assert spec_definition(second.loaded.spec) == spec_definition(first.loaded.spec)


def test_a_changed_byte_another_path_or_other_rules_make_another_key(file, tmp_path, monkeypatch):
    keys = [source_key(file)]
    copy = tmp_path / "copy.yaml"
    copy.write_bytes(file.read_bytes())
    keys.append(source_key(copy))
    file.write_text(text_of() + "\n")
    keys.append(source_key(file))
    monkeypatch.setattr(definitions, "_rules", lambda: "other")
    keys.append(source_key(file))
    assert None not in keys
    assert len(set(keys)) == 4


@pytest.mark.parametrize("part", ["errors", "parser"])
def test_other_messages_and_another_parser_are_other_rules(file, tmp_path, monkeypatch, part):
    before = source_key(file)
    if part == "errors":
        (tmp_path / "errors.py").write_text("")
        monkeypatch.setattr(actorflow.errors, "__file__", str(tmp_path / "errors.py"))
    else:
        monkeypatch.setattr(definitions, "VERSION", "0")
    definitions._rules.cache_clear()
    try:
        assert source_key(file) != before
    finally:
        definitions._rules.cache_clear()


def test_a_short_file_is_not_worth_it_and_neither_is_what_is_none(tmp_path, journal):
    short = tmp_path / "short.yaml"
    short.write_text(text_of(3))
    assert short.stat().st_size < WORTH_BYTES
    assert (source_key(short), source_key(tmp_path), source_key(tmp_path / "none.yaml")) == (None, None, None)
    assert load_cached(short, journal).news is None


def test_a_file_with_problems_tells_them_each_time_and_is_not_kept(journal, file):
    file.write_text(text_of(more="on_eror: x\n"))
    for _ in range(2):
        with pytest.raises(SpecError, match="on_eror"):
            load_cached(file, journal)
    assert journal.cached_definition(source_key(file)) is None


@pytest.mark.parametrize(
    ("body", "warnings"),
    [(b"{}", []), (b"not json", []), (b"[]", []), (b"null", []), (None, [{"colour": "red"}])],
)
def test_an_odd_entry_is_passed_over_and_overwritten(journal, file, body, warnings, checked):
    good = load_cached(file, journal)
    odd_body = good.news.body if body is None else body
    ok(journal, KeepDefinition(good.news.key, "odd", odd_body, warnings))
    again = load_cached(file, journal)
    assert again == good
    assert len(checked) == 2
    ok(journal, again.news)
    known = journal.cached_definition(good.news.key)
    assert known == CachedDefinition(good.news.digest, good.news.body, good.news.warnings)


def test_a_file_that_is_changed_while_it_is_checked_is_not_kept(journal, file, monkeypatch):
    def changing(path, terms):
        loaded = load_with_warnings(path, terms=terms)
        Path(path).write_text(text_of(401))
        return loaded

    monkeypatch.setattr(definitions, "load_with_warnings", changing)
    assert load_cached(file, journal).news is None


def test_a_file_that_names_an_action_of_the_program_is_checked_each_time(journal, file, checked, monkeypatch):
    monkeypatch.setitem(CONTRACTS, "page", ActionContract(name="page", params=Problem))
    hook = "{type: page, params: {code: W1, message: m}}"
    file.write_text(text_of(more=f"hooks: {{task_finished: [{hook}]}}\n"))
    for _ in range(2):
        assert load_cached(file, journal).news is None
    assert checked == [file, file]


def test_the_rules_are_those_of_the_code_that_is_there():
    rules = definitions._rules()
    assert rules is not None
    assert rules == definitions._rules.__wrapped__()


@pytest.mark.parametrize("package", [actorflow.spec, actorflow.expression])
def test_the_rules_know_every_module_of_what_checks_those_in_packages_inside_included(package):
    (folder,) = package.__path__
    known = {Path(path) for path, _, _ in definitions._modules(folder)}
    assert known == set(Path(folder).rglob("*.py"))


def test_the_command_line_keeps_a_checked_file_with_its_run_and_knows_it_again(
    file, tmp_path, monkeypatch, capsys, checked
):
    monkeypatch.setenv("ACTORFLOW_STORE", str(tmp_path / "runs.db"))
    command = ["run", str(file), "--agent", "*=echo", "--json"]
    told = []
    for _ in range(2):
        assert main(command) == 0
        told.append([line for line in capsys.readouterr().err.splitlines() if "big.yaml" in line])
    assert told[0] == told[1] != []
    assert checked == [file]
    file.write_text(text_of(401))
    assert main(command) == 0
    assert checked == [file, file]


def test_the_command_line_tells_what_is_wrong_with_a_large_file_whatever_the_store(
    file, tmp_path, monkeypatch, capsys
):
    store = tmp_path / "runs.db"
    store.write_text("no store")
    monkeypatch.setenv("ACTORFLOW_STORE", str(store))
    file.write_text(text_of(more="on_eror: x\n"))
    assert main(["run", str(file)]) != 0
    assert "on_eror" in capsys.readouterr().err
    assert store.read_text() == "no store"


def test_a_definition_goes_with_the_last_that_names_it(journal):
    ok(journal, create("r"))
    for key in ("first", "second"):
        ok(journal, KeepDefinition(key, "shared", b"{}", []))
    ok(journal, KeepDefinition("third", "d1", b"{}", []), KeepDefinition("fourth", "alone", b"{}", []))
    ok(journal, *(KeepDefinition(str(n), "new", b"{}", []) for n in range(CHECKED_KEPT - 3)))
    assert journal.definition("shared") == journal.definition("alone") == b"{}"
    ok(journal, *(KeepDefinition(f"more {n}", "new", b"{}", []) for n in range(3)))
    assert (journal.definition("d1"), journal.definition("new")) == (BODY, b"{}")
    for gone in ("shared", "alone"):
        with pytest.raises(StoreDamagedError):
            journal.definition(gone)
