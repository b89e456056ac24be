"""Command lines and what they end with: a table in `data/cli_cases.txt`, a line each."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import anyio
import pytest

from actorflow import Runtime, errors, load
from actorflow.cli import main
from actorflow.cli.faults import fault_of
from actorflow.cli.screen import filled
from actorflow.cli.statuses import STATUS_OF_ERROR, status_of

_CASES = Path(__file__).with_name("data") / "cli_cases.txt"

_FILES = {
    "good.yaml": "tasks: {t: {agent: x}}",
    "typed.yaml": "inputs: {n: {type: integer, required: true}}\ntasks: {t: {agent: x}}",
    "commands.yaml": "tasks: {t: {command: 'true'}}",
    "entry.yaml": "workflows: {main: {steps: [{stage: s, tasks: [t]}]}}\ntasks: {t: {command: 'true'}}",
    "python.yaml": "tasks: {t: {python: 'nowhere:f'}}",
    "bad.yaml": "tasks:\n  t: {agent: x, retyr: 3}\n",
    "empty.yaml": "",
    "n.json": '{\n\t"n": 1\n}',
    "n.yaml": "n: 1\n",
    "wrong.yaml": "n: one\n",
    "unknown.yaml": "n: 1\nm: 2\n",
    "nothing.yaml": "{}\n",
    "list.json": "[1]",
    "twice.json": '{"n": 1, "n": 2}',
    "broken.json": '{"n": ',
}


def _read_cases() -> list[tuple[str, str, str, str]]:
    cases: list[tuple[str, str, str, str]] = []
    for line in _CASES.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            expected, what, words = (part.strip() for part in line.split("|", 2))
            cases.append((*expected.split(), what, words))  # type: ignore[arg-type]
    return cases


async def _refuse(_: object) -> None:
    raise ValueError("not today")


async def _make_runs() -> None:
    spec = load("good.yaml")
    for run_id, agent in (("ok-1", "echo"), ("odd-1", "echo"), ("bad-1", "fail"), ("code-1", _refuse)):
        async with Runtime(store="sqlite:///runs.db", agents={"x": agent}) as runtime:
            await runtime.run(spec, run_id=run_id)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A folder of workflow files and a store with four runs, made once, as bytes by name."""
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, text in _FILES.items():
            Path(name).write_text(text, encoding="utf-8")
        anyio.run(_make_runs)
        return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(prepared: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, content in prepared.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path])  # folders of workflows are added to it
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTORFLOW_STORE", "runs.db")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


@pytest.mark.parametrize(("status", "code", "what", "words"), _read_cases())
@pytest.mark.usefixtures("folder")
def test_a_command_line_ends_with_its_status_and_code(
    status: str, code: str, what: str, words: str, capsys: pytest.CaptureFixture[str]
):
    ended = main([*shlex.split(words), "--json"])
    printed = capsys.readouterr()
    assert ended == int(status), (what, printed)
    assert "Traceback" not in printed.err
    if "--help" in words:
        return
    document = json.loads(printed.out)
    if words.startswith("validate ") and ended != 64:
        codes = {one["code"] for file in document["files"] for one in file["problems"]}
        assert code == "-" or code in codes
    elif code != "-":
        assert document["error"]["code"] == code
        assert set(document) == {"error", "problems"}
        assert set(document["error"]) == {"code", "message", "where"}


@pytest.mark.parametrize(
    "words", ["rum", "run bad.yaml", "run good.yaml", "show nothing", "list --store folder"]
)
@pytest.mark.usefixtures("folder")
def test_for_people_an_error_is_on_stderr_with_its_code_even_when_quiet(
    words: str, capsys: pytest.CaptureFixture[str]
):
    assert main([*shlex.split(words), "--quiet"]) >= 64
    printed = capsys.readouterr()
    assert printed.out == ""
    assert " E" in printed.err
    assert "Traceback" not in printed.err


@pytest.mark.usefixtures("folder")
def test_debug_shows_where_an_error_comes_from(capsys: pytest.CaptureFixture[str]):
    assert main(["show", "nothing", "--debug"]) == 66
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_problems_of_a_file_come_all_at_once_with_their_lines_and_carets(capsys: pytest.CaptureFixture[str]):
    Path("two.yaml").write_text("tasks:\n  a: {agnet: x}\n  b: {agent: x, retyr: 3}\n", encoding="utf-8")
    assert main(["run", "two.yaml"]) == 65
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("two.yaml:2:7: E120 ") for line in lines)
    assert any(line.startswith("two.yaml:3:17: E120 ") for line in lines)
    assert "    " + "  b: {agent: x, retyr: 3}" in lines
    assert "    " + " " * 16 + "^" in lines


@pytest.mark.usefixtures("folder")
def test_what_a_file_says_cannot_speak_to_the_terminal(capsys: pytest.CaptureFixture[str]):
    Path("esc.yaml").write_bytes(b"tasks: {a: {agent: x}}\n\x1b[31mkey: 1\n")
    assert main(["run", "esc.yaml"]) == 65
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_a_variable_that_names_no_store_is_a_wrong_configuration(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("ACTORFLOW_STORE", "postgres://db")
    assert main(["list"]) == 78
    assert "ACTORFLOW_STORE" in capsys.readouterr().err


def test_the_default_store_is_one_file_in_the_users_state_folder_for_the_user_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("ACTORFLOW_STORE")
    assert main(["list"]) == 0
    assert not (folder / "state").exists()  # who only looks leaves nothing behind
    assert main(["run", "commands.yaml"]) == 0
    state = folder / "state" / "actorflow"
    assert (state / "runs.db").is_file()
    assert state.stat().st_mode & 0o777 == 0o700


@pytest.mark.usefixtures("folder")
def test_a_damaged_store_is_an_io_error(capsys: pytest.CaptureFixture[str]):
    Path("runs.db").write_bytes(b"")
    assert main(["list", "--json"]) == 74
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "E502"


def test_an_error_that_nobody_foresaw_has_a_status_and_a_code_of_its_own():
    error = RuntimeError("oh")
    assert status_of(error) == 70
    assert fault_of(error).code == "E999"


def test_every_public_error_has_a_status():
    for name in errors.__all__:
        kind = getattr(errors, name)
        if name not in {"Problem", "ActorflowError", "IllegalTransitionError", "RunFailedError"}:
            assert kind in STATUS_OF_ERROR, name


@pytest.mark.usefixtures("folder")
def test_each_of_several_problems_has_its_line_and_who_speaks(capsys: pytest.CaptureFixture[str]):
    assert main(["run", "typed.yaml", "--agent", "x=echo", "--input", "n=one", "--input", "m=2"]) == 64
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("actorflow: E400 ") for line in lines)


@pytest.mark.usefixtures("folder")
def test_a_missing_word_is_told_in_one_sentence(capsys: pytest.CaptureFixture[str]):
    assert main(["show"]) == 64
    assert "Missing argument 'RUN|last'; try 'actorflow show --help'" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--help"], ["dead-letters", "--help"], ["hooks", "--help"]])
def test_no_command_is_described_in_half_a_sentence(words: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(words) == 0
    assert "..." not in capsys.readouterr().out.partition("Commands:")[2]


def test_a_message_ends_its_lines_between_words_but_for_what_shows_a_file():
    text = "one two three\n    a line of a file\nunbreakable"
    assert filled(text, 8) == "one two\n  three\n    a line of a file\nunbreakable"
