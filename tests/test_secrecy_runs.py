"""The secrets of a run: opened for who needs them; what any agent gives, says or logs is kept and told without them."""

from __future__ import annotations

import logging
import os
import threading
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from actorflow import AgentCall, Runtime, load_dict
from actorflow.expression import SecretName, compile_template
from actorflow.runtime.result import RunResult
from actorflow.secrecy.logs import SecretsInLogs
from actorflow.secrecy.run_secrets import MOST_REMEMBERED, RunSecrets
from actorflow.secrecy.source import SecretSource, SecretUnreadable
from actorflow.spec.model import SecretSpec

CANARY = "s3cret-canary"
TOKEN = SecretName("secret", "token")
OTHER = SecretName("env", "OTHER")


def sealed(value: Any) -> Any:
    return compile_template(value, secrets=True).render({})


@pytest.fixture
def environ() -> dict[str, str]:
    return {"API_TOKEN": CANARY, "OTHER": "0ther-value", "HOME": "/home/me"}


@pytest.fixture
def run_secrets(tmp_path: Path, environ: dict[str, str]) -> RunSecrets:
    secrets = {"token": SecretSpec(env="API_TOKEN"), "key": SecretSpec(file="key.txt")}
    source = SecretSource(secrets=secrets, folder=str(tmp_path), environ=environ)
    return RunSecrets(source, [OTHER], frozenset({"HOME"}))


class TestOpening:
    def test_variables_and_arguments_are_opened_and_values_never_looked_into(
        self, run_secrets: RunSecrets, environ: dict[str, str]
    ):
        environ["OTHER"] = "{{ secrets.token }} ${API_TOKEN}"

        opened = run_secrets.opened(
            {"AUTH": sealed("Bearer {{ secrets.token }}"), "MODE": "plain ${OTHER}"},
            ("curl", sealed("${OTHER}/x"), "--"),
        )

        assert opened.env == {"AUTH": f"Bearer {CANARY}", "MODE": "plain ${OTHER}"}
        assert opened.argv == ("curl", "{{ secrets.token }} ${API_TOKEN}/x", "--")
        assert run_secrets.opened({}, None).argv is None

    def test_params_are_opened_at_any_depth(self, run_secrets: RunSecrets):
        params = sealed({"auth": ["{{ secrets.token }}", 1], "to": {"x": "a ${OTHER}"}, "n": None})

        assert run_secrets.unsealed(params) == {
            "auth": [CANARY, 1],
            "to": {"x": "a 0ther-value"},
            "n": None,
        }

    @pytest.mark.parametrize("place", ["env", "argv", "params"])
    def test_a_secret_that_is_not_there_is_told_to_who_needs_it(
        self, run_secrets: RunSecrets, environ: dict[str, str], place: str
    ):
        del environ["OTHER"]
        assert run_secrets.hidden("all the same") == "all the same"

        with pytest.raises(SecretUnreadable, match=r"^the environment variable OTHER is not set$"):
            match place:
                case "env":
                    run_secrets.opened({"A": sealed("${OTHER}")}, None)
                case "argv":
                    run_secrets.opened({}, (sealed("${OTHER}"),))
                case _:
                    run_secrets.unsealed({"a": [sealed("${OTHER}")]})

    def test_what_was_opened_shows_no_value(self, run_secrets: RunSecrets):
        opened = run_secrets.opened({"A": sealed("{{ secrets.token }}")}, (sealed("${OTHER}"),))

        assert CANARY not in f"{opened!r} {opened}"
        assert "0ther" not in f"{opened!r} {opened}"


class TestHiding:
    def test_declared_secrets_are_hidden_before_anybody_opens_one(
        self, run_secrets: RunSecrets, tmp_path: Path
    ):
        (tmp_path / "key.txt").write_text("the-key\n")

        assert run_secrets.hidden([CANARY, "the-key", {"0ther-value": 1}]) == ["***", "***", {"***": 1}]

    def test_a_secret_is_read_before_its_reader_can_take_it_away(
        self, run_secrets: RunSecrets, environ: dict[str, str]
    ):
        run_secrets.learn()
        environ.clear()

        assert run_secrets.hidden(CANARY) == "***"

    def test_a_value_that_was_changed_is_hidden_and_so_is_the_one_before(
        self, run_secrets: RunSecrets, environ: dict[str, str]
    ):
        before = run_secrets.hiding
        environ["API_TOKEN"] = "r0tated"
        assert run_secrets.unsealed(sealed("{{ secrets.token }}")) == "r0tated"

        assert run_secrets.hidden(f"{CANARY} r0tated") == "*** ***"
        assert run_secrets.hiding is not before
        assert run_secrets.lookup(TOKEN) == "r0tated"
        assert run_secrets.hiding is run_secrets.hiding

    def test_of_a_secret_that_changes_all_the_time_the_oldest_values_are_forgotten(
        self, run_secrets: RunSecrets, environ: dict[str, str]
    ):
        for number in range(MOST_REMEMBERED + 10):
            environ["API_TOKEN"] = f"t0ken-{number:03}"
            run_secrets.lookup(TOKEN)

        assert run_secrets.hidden(f"t0ken-{MOST_REMEMBERED + 9:03}") == "***"
        assert run_secrets.hidden("t0ken-010") == "***"
        assert run_secrets.hidden("t0ken-009") == "t0ken-009"
        assert run_secrets.hidden("0ther-value") == "***"

    def test_what_everybody_may_know_is_no_secret_unless_it_is_declared(self, environ: dict[str, str]):
        home = SecretName("env", "HOME")
        for declared, told in (({}, "/home/me/x"), ({"HOME": SecretSpec(env="HOME")}, "***/x")):
            source = SecretSource(secrets=declared, folder="/", environ=environ)
            secrets = RunSecrets(source, [home], frozenset({"HOME"}))

            assert secrets.unsealed(sealed("${HOME}/x")) == "/home/me/x"
            assert secrets.hidden("/home/me/x") == told

    def test_what_everybody_may_know_stays_hidden_where_it_is_declared_and_changed(
        self, environ: dict[str, str]
    ):
        source = SecretSource(secrets={"HOME": SecretSpec(env="HOME")}, folder="/", environ=environ)
        secrets = RunSecrets(source, (), frozenset({"HOME"}))
        secrets.learn()
        environ["HOME"] = "/var/you"

        assert secrets.unsealed(sealed("${HOME}")) == "/var/you"
        assert secrets.hidden("/home/me /var/you") == "*** ***"

    def test_a_definition_without_secrets_hides_nothing(self, environ: dict[str, str]):
        secrets = RunSecrets(SecretSource(secrets={}, folder="/", environ=environ))
        told = {"a": [CANARY]}

        assert not secrets.has_any
        assert secrets.hidden(told) is told
        assert secrets.opened({"A": "b"}, ("c",)).env == {"A": "b"}

    def test_no_value_is_lost_where_two_threads_read_secrets_at_once(self, tmp_path: Path):
        environ = {f"T{number}": f"t0ken-{number:03}" for number in range(60)}
        names = [SecretName("env", name) for name in environ]
        secrets = RunSecrets(SecretSource(secrets={}, folder=str(tmp_path), environ=environ), names)

        threads = [
            threading.Thread(target=lambda part=part: [*map(secrets.lookup, part)])
            for part in (names[:30], names[30:])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert secrets.hidden([*environ.values()]) == ["***"] * 60


class TestLogs:
    def record_of(
        self, run_secrets: RunSecrets, message: str, *args: object, **more: Any
    ) -> logging.LogRecord:
        record = logging.LogRecord("actorflow.hooks", logging.INFO, __file__, 1, message, args, None)
        record.__dict__.update(more)
        in_logs = SecretsInLogs()
        in_logs.follow(run_secrets)
        assert in_logs.filter(record)
        return record

    def test_a_message_is_logged_without_secrets(self, run_secrets: RunSecrets):
        assert self.record_of(run_secrets, "to %s: %d", CANARY, 5).getMessage() == "to ***: 5"
        assert self.record_of(run_secrets, f"to {CANARY}").getMessage() == "to ***"

    def test_a_record_without_secrets_stays_as_it_is(self, run_secrets: RunSecrets):
        record = self.record_of(run_secrets, "%s: %d", "a", 5)

        assert (record.msg, record.args) == ("%s: %d", ("a", 5))

    def test_tracebacks_and_fields_are_logged_without_secrets(self, run_secrets: RunSecrets):
        try:
            raise ValueError(CANARY)
        except ValueError as error:
            info = (type(error), error, error.__traceback__)
        fields = {"token": CANARY, "count": 1}

        record = self.record_of(run_secrets, "failed", exc_info=info, actorflow=fields)

        assert "ValueError: ***" in logging.Formatter().format(record)
        assert record.__dict__["actorflow"] == {"token": "***", "count": 1}

    def test_arguments_that_cannot_be_shown_harm_nobody(self, run_secrets: RunSecrets):
        class Hostile:
            def __str__(self) -> str:
                raise SystemError

        for message, args in (("%s %s", ("a",)), ("%s", (Hostile(),)), (f"%d {CANARY}", ("x",))):
            assert CANARY not in str(self.record_of(run_secrets, message, *args).msg)

    def test_secrets_are_hidden_as_long_as_their_run_is_there(self, run_secrets: RunSecrets):
        in_logs = SecretsInLogs()
        source = SecretSource(secrets={}, folder="/", environ={"X": "0nce-there"})
        in_logs.follow(RunSecrets(source, [SecretName("env", "X")]))
        record = logging.LogRecord("actorflow", logging.INFO, __file__, 1, "0nce-there", (), None)

        in_logs.filter(record)

        assert record.getMessage() == "0nce-there"


def returns(call: AgentCall) -> object:
    token = os.environ["API_TOKEN"]
    return {
        token: [f"Bearer {token}", 1],
        "basic": b64encode(f"user:{token}".encode()).decode(),
        "pin": 48291377,
    }


async def returns_later(call: AgentCall) -> object:
    return [os.environ["API_TOKEN"]]


def takes_away(call: AgentCall) -> object:
    del os.environ["API_TOKEN"]
    return CANARY


def says_that_it_failed(call: AgentCall) -> object:
    return {"error": {"message": f"401 for {os.environ['API_TOKEN']}"}}


def raises(call: AgentCall) -> object:
    raise ValueError(f"bad {os.environ['API_TOKEN']}")


def raises_many(call: AgentCall) -> object:
    raise ExceptionGroup("both", [ValueError(os.environ["API_TOKEN"]), KeyError(os.environ["API_TOKEN"])])


def raises_by_name(call: AgentCall) -> object:
    raise type(f"No_{os.environ['NAME']}", (Exception,), {"retry_after": 48291377})


def gives_what_is_no_output(call: AgentCall) -> object:
    return {os.environ["NAME"]: object()}


def logs(call: AgentCall) -> object:
    logging.getLogger("actorflow.runtime").warning("token: %s", os.environ["API_TOKEN"])
    return "done"


PYTHON: dict[str, tuple[Any, str]] = {
    "returns": (returns, "{'***': ['Bearer ***', 1], 'basic': 'dXNlcjp***', 'pin': '***'}"),
    "returns later": (returns_later, "['***']"),
    "takes it away": (takes_away, "***"),
    "says that it failed": (says_that_it_failed, "soft_error: the output is an error: 401 for ***"),
    "raises": (raises, "ValueError: bad ***"),
    "raises many": (raises_many, "ExceptionGroup: 2 errors: ValueError: ***; KeyError: '***'"),
    "raises by name": (raises_by_name, "No_***: "),
    "gives what is no output": (
        gives_what_is_no_output,
        "output: $.***: object is not JSON; return None, numbers, text, lists and dicts",
    ),
    "logs": (logs, "done"),
}

PROCESSES: dict[str, tuple[Mapping[str, Any], str]] = {
    "a command": ({"command": 'echo "$T"; echo "$T" >&2'}, "***"),
    "a command's JSON": (
        {"command": 'echo "{\\"$T\\": [\\"a $T\\", 48291377]}"'},
        "{'***': ['a ***', '***']}",
    ),
    "a command's file": ({"command": 'printf "[\\"%s\\"]" "$T" > $ACTORFLOW_OUTPUT'}, "['***']"),
    "a command that fails": ({"command": 'echo "$T" >&2; exit 3'}, "exit_status: exited with status 3: ***"),
    "a command without it": ({"command": f"echo {CANARY}", "env": {}}, "***"),
    "a list command": ({"command": ["sh", "-c", 'echo "$0"', "{{ secrets.token }}"]}, "***"),
    "a program that is none": (
        {"command": ["no-{{ secrets.token }}"]},
        "not_found: exited with status 127: no-***: not found",
    ),
    "a script": ({"script": {"language": "bash", "text": 'echo "$T" | base64'}}, "***"),
    "a script's trace": (
        {"script": {"language": "bash", "text": 'set -x\n: "$T"\nexit 4'}},
        "exit_status: exited with status 4: + exit 4",
    ),
    "a Python script": (
        {"script": {"language": "python", "text": "import os; print(repr(os.environ['T']))"}},
        "'***'",
    ),
    "echo": ({"agent": "echo", "with": {"x": CANARY}}, "{'input': {'x': '***'}, 'description': ''}"),
}


async def told_by(task: Mapping[str, Any], folder: Path, agents: Mapping[str, Any]) -> tuple[RunResult, str]:
    """What a task gave, or how it failed; and all that the store has of its run but the definition and the inputs."""
    secrets = {"token": {"env": "API_TOKEN"}, "pin": {"file": "pin"}, "name": {"env": "NAME"}}
    (folder / "pin").write_text("48291377\n")
    definition = {
        "name": "w",
        "secrets": secrets,
        "tasks": {"a": {"on_error": {"strategy": "skip"}, "soft_errors": True, **task}},
        "outputs": {"all": "{{ tasks.a.output }}"},
    }
    spec = load_dict(definition, trust="own", folder=folder)
    async with Runtime(store=f"sqlite:///{folder}/runs.db", agents=agents) as runtime:
        handle = await runtime.start(spec)
        result = await handle.settled()
        events = [event async for _, event in handle.events()]
    return result, str(events)


def kept_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("runs.db*"))


def said(result: RunResult) -> str:
    task = result.tasks["a"]
    return str(task.output) if task.error is None else f"{task.error['type']}: {task.error['message']}"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", CANARY)
    monkeypatch.setenv("NAME", "S3cretName")


@pytest.mark.anyio
@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(("agent", "tells"), PYTHON.values(), ids=PYTHON)
async def test_what_a_python_agent_tells_of_its_environment_is_kept_without_secrets(
    agent: Any, tells: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    result, events = await told_by({"agent": "act"}, tmp_path, {"act": agent})

    assert said(result) == tells
    stored = kept_in(tmp_path)
    for secret in (CANARY, "48291377", "S3cretName"):
        assert secret not in f"{result} {events} {caplog.text}"
        assert secret.encode() not in stored


@pytest.mark.anyio
@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(("task", "tells"), PROCESSES.values(), ids=PROCESSES)
async def test_what_a_process_tells_is_kept_without_secrets(
    task: Mapping[str, Any], tells: str, tmp_path: Path
):
    if "command" in task or "script" in task:
        task = {"env": {"T": "{{ secrets.token }}"}, **task}

    result, events = await told_by(task, tmp_path, {"echo": "echo"})

    assert said(result) == tells
    assert CANARY not in events.replace(f"echo {CANARY}", "").replace(f"{{'x': '{CANARY}'}}", "")


@pytest.mark.anyio
async def test_a_task_without_its_secret_fails_and_says_which_one_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NAME", "S3cretName")
    monkeypatch.setenv("API_TOKEN", CANARY)
    spec = load_dict(
        {
            "name": "w",
            "tasks": {
                "a": {"agent": "forget"},
                "b": {"command": "true", "env": {"T": "${API_TOKEN}"}, "depends_on": ["a"]},
            },
        },
        trust="own",
    )
    async with Runtime(store="memory:", agents={"forget": takes_away}) as runtime:
        result = await runtime.run(spec)

    assert result.tasks["a"].output == "***"
    assert result.tasks["b"].error is not None
    assert (result.tasks["b"].error["type"], result.tasks["b"].error["message"]) == (
        "environment",
        "the environment variable API_TOKEN is not set",
    )


@pytest.mark.anyio
async def test_without_secrets_an_output_is_kept_as_it_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("API_TOKEN", CANARY)
    spec = load_dict({"name": "w", "tasks": {"a": {"agent": "act"}}}, trust="own")
    async with Runtime(store="memory:", agents={"act": returns_later}) as runtime:
        result = await runtime.run(spec)

    assert result.tasks["a"].output == [CANARY]
