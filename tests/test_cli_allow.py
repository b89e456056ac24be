"""What the command line lets a definition reach and name: `--allow-host`, `--allow-env`, `--trust`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import anyio
import pytest
from chaos_sink import ChaosSink, answer

from actorflow import Runtime, SpecError, load, load_dict, loads
from actorflow.cli import main
from actorflow.runtime.definitions import source_key
from actorflow.spec.loading import Terms, load_with_warnings

Capture = pytest.CaptureFixture[str]

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

HOOKED = """
name: order
hooks:
  task_finished:
    - type: webhook
      retry: {max_attempts: 1}
      params:
        url: "${BASE}/orders"
        headers: {Authorization: "Bearer ${TOKEN}"}
        body: {task: "{{ task.id }}", status: "{{ task.status }}"}
        sign: {secret: ["${SIGNS}"]}
tasks: {ship: {agent: x}}
"""

REACHING = """
agents:
  own: {http: {url: "https://own.example.com/{{ input.x }}"}}
  made: {http: {url: "{{ input.x }}/a"}}
tasks:
  a: {agent: own}
  b: {agent: made}
hooks:
  task_finished:
    - {type: webhook, params: {url: "https://hooks.example.com/v1/{{ task.id }}"}}
    - {type: webhook, params: {url: "https://other.example.com:8443/x"}}
    - {type: webhook, params: {url: "http://127.1/x"}}
    - {type: notify, params: {message: m, channels: [{type: slack, url: "https://chat.example.com/T/B"}]}}
"""

DATA = """
name: data
agents: {get: {http: {url: "https://api.example.com/x", headers: {X-Key: "${API_KEY}"}}}}
tasks: {t: {agent: get}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTORFLOW_STORE", str(tmp_path / "runs.db"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("ACTORFLOW_ALLOW_HOSTS", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name, text in {"hooked": HOOKED, "reaching": REACHING, "data": DATA}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Generator[ChaosSink]:
    """A receiver, whose address a variable holds."""
    with ChaosSink() as sink:
        monkeypatch.setenv("BASE", sink.url("").rstrip("/"))
        monkeypatch.setenv("TOKEN", "t0ken-of-the-shop")
        monkeypatch.setenv("SIGNS", SECRET)
        yield sink


def origin(sink: ChaosSink) -> str:
    return sink.url("").rstrip("/")


def shown(capsys: Capture) -> Any:
    return json.loads(capsys.readouterr().out)


# Deliveries


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_run_delivers_to_what_is_allowed(backend: str, sink: ChaosSink, capsys: Capture):
    words = ["run", "hooked.yaml", "--agent", "x=echo", "--backend", backend, "--run-id", "r-1"]
    assert main([*words, "--allow-host", origin(sink), "--strict-hooks", "--quiet"]) == 0
    (request,) = sink.requests
    assert json.loads(request.body) == {"task": "ship", "status": "success"}
    capsys.readouterr()

    assert main(["hooks", "list", "r-1", "--json"]) == 0
    (hook,) = shown(capsys)["hooks"]
    assert (hook["http_status"], hook["status"], hook["batch"]) == (204, "ok", None)
    assert hook["target"].endswith("/orders")
    assert main(["hooks", "list", "r-1"]) == 0
    assert re.search(r" 204 \S+/orders ", capsys.readouterr().out)


def test_a_refusal_is_a_dead_letter_that_can_be_retried_with_the_host_allowed(
    sink: ChaosSink, capsys: Capture
):
    assert main(["run", "hooked.yaml", "--agent", "x=echo", "--run-id", "r-1", "--strict-hooks"]) == 1
    capsys.readouterr()
    assert sink.connections() == 0
    assert main(["dead-letters", "list", "--json"]) == 0
    (letter,) = shown(capsys)["dead_letters"]
    assert letter["reason"].startswith('E444 what ${BASE} holds is not allowed; --allow-host "$BASE"')
    retry = ["dead-letters", "retry", letter["id"], "--allow-host", origin(sink), "--quiet"]
    assert main(retry) == 0
    assert [request.header("webhook-id") for request in sink.requests] == [letter["id"]]
    capsys.readouterr()


@pytest.mark.parametrize("later", ["resume r-1", "hooks drain r-1", "hooks drain"])
def test_what_is_owed_waits_for_a_command_that_allows_its_host(
    later: str, sink: ChaosSink, folder: Path, capsys: Capture
):
    async def begin() -> None:
        store = f"sqlite:///{folder}/runs.db"
        async with Runtime(store=store, agents={"x": "echo"}, drain_timeout_s=0.0) as runtime:
            await runtime.run(load("hooked.yaml"), run_id="r-1")

    anyio.run(begin)
    main([*later.split(), "--quiet"])
    capsys.readouterr()
    assert main(["hooks", "list", "r-1", "--json"]) == 0
    (hook,) = shown(capsys)["hooks"]
    assert (hook["status"], sink.connections()) == ("pending", 0)
    assert "E444" in hook["why"]

    assert main([*later.split(), "--allow-host", origin(sink), "--quiet"]) == 0
    assert len(sink.requests) == 1
    capsys.readouterr()


def test_hosts_are_united_from_flags_variable_and_configuration(
    sink: ChaosSink, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
):
    words = ["run", "hooked.yaml", "--agent", "x=echo", "--strict-hooks", "--quiet"]
    monkeypatch.setenv("ACTORFLOW_ALLOW_HOSTS", f"https://a.example.com,{origin(sink)}")
    assert main(words) == 0
    monkeypatch.delenv("ACTORFLOW_ALLOW_HOSTS")
    assert main(words) == 1
    (folder / "actorflow.toml").write_text(f'allow_hosts = ["{origin(sink)}"]\n')
    assert main(words) == 0
    assert main([*words, "--no-config"]) == 1
    assert len(sink.requests) == 2
    capsys.readouterr()


@pytest.mark.parametrize("entry", ["ftp://x", "https://user@x", "10.0.0.0/33", "https://*.1.2.3.4", ""])
@pytest.mark.parametrize("command", [["run", "hooked.yaml"], ["hooks", "drain"], ["validate", "hooked.yaml"]])
def test_an_entry_that_cannot_be_read_is_a_wrong_command_line(
    entry: str, command: list[str], capsys: Capture
):
    assert main([*command, "--allow-host", entry]) == 64
    told = capsys.readouterr().err
    assert "E600" in told
    assert "is no entry of allowed hosts" in told


# What is shown before


def test_validate_tells_which_hosts_the_lists_allow_and_the_flag_for_the_others(capsys: Capture):
    allowed = ["--allow-host", "https://hooks.example.com/v1", "--allow-host", "*.example.com"]
    assert main(["validate", "reaching.yaml", "--json", *allowed]) == 0
    (file,) = shown(capsys)["files"]
    assert {each["host"]: (each["verdict"], each["flag"], each["code"]) for each in file["reach"]} == {
        "https://own.example.com": ("own", "", ""),
        "{{ input.x }}": ("open", "", ""),
        "https://hooks.example.com": ("allowed", "", ""),
        "https://other.example.com:8443": ("refused", "--allow-host https://other.example.com:8443", "E444"),
        "http://127.1": ("refused", "", "E440"),
        "https://chat.example.com": ("allowed", "", ""),
    }
    assert [each["host"] for each in file["reach"]] == file["needs"]["hosts"]
    assert main(["validate", "reaching.yaml", *allowed]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert ["allowed", "https://hooks.example.com, https://chat.example.com"] in lines
    assert ["to", "allow     --allow-host https://other.example.com:8443"] in lines


def test_a_strangers_file_allows_no_host_by_naming_it(capsys: Capture):
    words = ["validate", "data.yaml", "--trust", "data", "--allow-env", "API_KEY", "--json"]
    assert main([*words, "--allow-host", "https://x.example.com"]) == 0
    (file,) = shown(capsys)["files"]
    assert [each["verdict"] for each in file["reach"]] == ["refused"]


def test_hooks_test_shows_a_request_without_sending_it_and_without_secrets(sink: ChaosSink, capsys: Capture):
    words = ["hooks", "test", "hooked.yaml", "task_finished"]
    assert main([*words, "--allow-host", origin(sink)]) == 0
    told = capsys.readouterr().out
    assert "would act" in told
    assert "request:  POST ${BASE}/orders" in told
    assert '"Authorization": "Bearer ${TOKEN}"' in told
    assert 'body:     {"status": "success", "task": "ship"}' in told
    assert "signed:   with 1 secret" in told
    for secret in (origin(sink), "t0ken", SECRET):
        assert secret not in told
    assert sink.connections() == 0


def test_hooks_test_says_that_a_request_would_be_refused_and_by_which_flag_it_would_not(
    sink: ChaosSink, capsys: Capture
):
    assert main(["hooks", "test", "hooked.yaml", "task_finished", "--json"]) == 1
    (hook,) = shown(capsys)["hooks"]
    assert hook["fault"] == 'E444 what ${BASE} holds is not allowed; --allow-host "$BASE" would allow it'
    assert hook["request"]["method"] == "POST"
    assert main(["hooks", "test", "hooked.yaml", "task_finished", "--run"]) == 1
    capsys.readouterr()
    assert sink.connections() == 0


def test_hooks_test_sends_when_it_is_told_to(sink: ChaosSink, capsys: Capture):
    words = ["hooks", "test", "hooked.yaml", "task_finished", "--run", "--allow-host", origin(sink)]
    assert main(words) == 0
    assert len(sink.requests) == 1
    capsys.readouterr()


def test_hooks_test_says_that_a_secret_cannot_sign(
    sink: ChaosSink, monkeypatch: pytest.MonkeyPatch, capsys: Capture
):
    monkeypatch.setenv("SIGNS", "short-secret")
    assert main(["hooks", "test", "hooked.yaml", "task_finished", "--allow-host", origin(sink)]) == 1
    told = capsys.readouterr().out
    assert "the secret to sign with" in told
    assert "short-secret" not in told


def test_hooks_test_shows_the_payload_of_each_channel(capsys: Capture):
    main(["hooks", "test", "reaching.yaml", "task_finished", "--input", "x=1", "--json"])
    hook = shown(capsys)["hooks"][-1]
    assert hook["action"] == "notify.slack"
    assert hook["request"]["body"] == {"text": "m"}


def test_the_channels_of_notices_are_listed(capsys: Capture):
    assert main(["hooks", "actions"]) == 0
    assert "channels  slack, discord, teams, ntfy, webhook, file" in capsys.readouterr().out


# Definitions that are data


@pytest.mark.parametrize(
    ("definition", "code", "flag"),
    [
        ({"tasks": {"t": {"agent": "x", "env": {"K": "${KEY}"}}}}, "E204", "--allow-env KEY"),
        ({"env": ["KEY"], "tasks": {"t": {"agent": "x"}}}, "E204", "--allow-env NAME"),
        ({"tasks": {"t": {"http": {"url": "https://a.example.com"}}}}, "E206", "--allow-host URL"),
    ],
)
def test_a_refusal_of_data_names_the_flag_that_would_allow_it(
    definition: dict[str, Any], code: str, flag: str
):
    with pytest.raises(SpecError) as refused:
        load_dict(definition)
    assert refused.value.code == code
    assert flag in refused.value.problems[0].hint


def test_data_may_name_what_it_is_allowed_and_nothing_else():
    spec = loads(DATA, allow_env=["API_KEY"], may_reach=True)
    assert spec.trust == "data"
    for allowed in (
        {"allow_env": ["API_KEY"]},
        {"may_reach": True},
        {"allow_env": ["API"], "may_reach": True},
    ):
        with pytest.raises(SpecError):
            loads(DATA, **allowed)
    more = "secrets: {s: {env: API_KEY}}\nhooks: {on_error: [make]}\nenv: [API_KEY]\n"
    with pytest.raises(SpecError) as refused:
        loads(more + DATA, allow_env=["API_KEY"], may_reach=True)
    assert [each.code for each in refused.value.problems] == ["E205", "E203", "E204"]


def test_a_channel_that_is_a_file_is_refused_in_data_that_may_reach_hosts():
    notice = "{type: notify, params: {message: m, channels: [{type: file, path: a}]}}"
    with pytest.raises(SpecError, match="E207"):
        loads(f"hooks: {{task_finished: [{notice}]}}\ntasks: {{t: {{agent: x}}}}", may_reach=True)


@pytest.mark.parametrize("command", ["run", "validate"])
def test_a_strangers_file_is_judged_as_data(command: str, folder: Path, capsys: Capture):
    (folder / "c.yaml").write_text("tasks: {t: {command: touch ran}}")
    assert main([command, "c.yaml", "--trust", "data", "--json"]) == 65
    assert "E201" in capsys.readouterr().out
    assert not (folder / "ran").exists()
    assert main([command, "c.yaml", "--trust", "own", "--json"]) == 0
    capsys.readouterr()


def test_nothing_is_imported_from_the_folder_of_a_strangers_file(folder: Path, capsys: Capture):
    (folder / "theirs").mkdir()
    (folder / "theirs" / "w.yaml").write_text("tasks: {t: {agent: x}}")
    (folder / "theirs" / "tools_of_theirs.py").write_text("def act(call): return 1\n")
    words = ["run", "theirs/w.yaml", "--agent", "x=python:tools_of_theirs:act", "--quiet"]
    assert main([*words, "--trust", "data"]) == 64
    assert main(words) == 0
    capsys.readouterr()


def test_data_runs_with_what_the_command_allows_it(
    sink: ChaosSink, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
):
    monkeypatch.setenv("API_KEY", "key-of-the-shop")
    sink.answers("/x", answer(200, b"fine"))
    (folder / "data.yaml").write_text(DATA.replace("https://api.example.com", origin(sink)))
    words = ["run", "data.yaml", "--trust", "data", "--allow-env", "API_KEY", "--run-id", "r-1", "--json"]
    assert main(words) == 65, "no list, no hosts"
    assert "E206" in capsys.readouterr().out
    assert main([*words, "--allow-host", "https://x.example.com"]) == 1
    assert "E444" in shown(capsys)["error"]["message"]
    assert sink.connections() == 0
    assert main(["resume", "r-1", "--json"]) == 1
    assert "E444" in shown(capsys)["error"]["message"]
    assert main(["resume", "r-1", "--allow-host", origin(sink)]) == 0
    assert "has changed" not in capsys.readouterr().err
    assert [request.header("x-key") for request in sink.requests] == ["key-of-the-shop"]


def test_changes_of_a_strangers_file_are_accepted_on_its_terms(folder: Path, capsys: Capture):
    (folder / "w.yaml").write_text("name: w\ntasks: {t: {agent: x}}")
    assert main(["run", "w.yaml", "--trust", "data", "--agent", "x=fail", "--run-id", "r-1", "--quiet"]) == 1
    accept = ["resume", "r-1", "--accept-changes", "w.yaml", "--agent", "x=echo", "--quiet"]
    (folder / "w.yaml").write_text("name: w\ntasks: {t: {command: 'true'}}")
    assert main(accept) == 65
    assert "E201" in capsys.readouterr().err
    (folder / "w.yaml").write_text('name: w\ntasks: {t: {agent: x, env: {K: "${KEY}"}}}')
    assert main(accept) == 65
    assert "--allow-env KEY" in capsys.readouterr().err
    (folder / "w.yaml").write_text("name: w\ntasks: {t: {agent: x, with: {n: 1}}}")
    assert main(accept) == 0
    capsys.readouterr()


def test_a_file_that_is_known_on_some_terms_is_not_known_on_others(folder: Path):
    tasks = "".join(f"  t{n}: {{agent: x, with: {{n: {n}}}}}\n" for n in range(900))
    (folder / "long.yaml").write_text(f"tasks:\n{tasks}")
    terms = [Terms(), Terms("data"), Terms("data", frozenset({"A"})), Terms("data", may_reach=True)]
    terms += [Terms(allow_env=frozenset()), Terms(allow_env=frozenset({"A"})), Terms(no_commands=True)]
    keys = {source_key("long.yaml", each) for each in terms}
    assert None not in keys
    assert len(keys) == len(terms)
    assert load_with_warnings("long.yaml", terms=terms[1]).spec.folder == str(folder)


# Files of one's own, on narrower terms

NAMING = """
env: [SHOP, REGION]
secrets: {key: {env: API_KEY}, other: {env: OTHER_KEY}, paper: {file: key.txt}}
agents: {x: {command: [curl, "${TOKEN}", "{{ secrets.other }}"], env: {K: "${REGION}"}}}
tasks: {t: {agent: x, env: {A: "{{ secrets.key }} ${BASE}"}}}
"""

CODE = [
    ("E201", "commands", "tasks: {t: {command: touch ran}}"),
    ("E201", "commands", "agents: {x: {command: [touch, ran]}}\ntasks: {t: {agent: x}}"),
    ("E201", "scripts", "tasks: {t: {script: touch ran}}"),
    ("E202", "Python paths", "tasks: {t: {python: 'shop.agents:count'}}"),
    ("E203", "shell hooks", "hooks: {on_error: [touch ran]}\ntasks: {t: {agent: x}}"),
    ("E203", "shell hooks", "tasks: {t: {agent: x, hooks: {task_finished: [{command: touch ran}]}}}"),
]


def faults(text: str, **terms: Any) -> list[tuple[str, str]]:
    """The code of each problem, and the variable that it is about."""
    try:
        loads(text, trust="own", **terms)
    except SpecError as error:
        return [(each.code, each.hint.split(",")[0]) for each in error.problems]
    return []


def test_a_list_of_variables_holds_for_a_file_of_ones_own_wherever_it_names_one():
    missing = ["SHOP", "REGION", "API_KEY", "OTHER_KEY", "TOKEN", "REGION", "BASE"]
    assert faults(NAMING) == []
    assert faults(NAMING, allow_env=missing) == []
    assert faults(NAMING, allow_env=[]) == [("E204", f"--allow-env {name}") for name in missing]
    assert faults(NAMING, allow_env=["SHOP", "REGION", "OTHER_KEY", "BASE"]) == [
        ("E204", "--allow-env API_KEY"),
        ("E204", "--allow-env TOKEN"),
    ]


@pytest.mark.parametrize(("code", "what", "text"), CODE)
def test_a_file_of_ones_own_may_be_refused_what_runs_code(code: str, what: str, text: str):
    assert faults(text) == []
    with pytest.raises(SpecError) as refused:
        loads(text, trust="own", no_commands=True)
    (problem,) = refused.value.problems
    assert problem.code == code
    assert f"{what} are refused by --no-commands" in problem.message


def test_what_runs_no_code_is_allowed_without_commands():
    assert faults(REACHING, no_commands=True) == []


def test_load_and_load_dict_take_the_same_narrower_terms(folder: Path):
    (folder / "w.yaml").write_text("env: [A]\ntasks: {t: {command: 'true'}}")
    definition = {"env": ["A"], "tasks": {"t": {"command": "true"}}}
    assert load("w.yaml", allow_env=["A"]).env == ("A",)
    for refused in (
        lambda: load("w.yaml", allow_env=[], no_commands=True),
        lambda: load_dict(definition, trust="own", allow_env=[], no_commands=True),
    ):
        with pytest.raises(SpecError) as told:
            refused()
        assert [each.code for each in told.value.problems] == ["E204", "E201"]


@pytest.mark.parametrize("command", ["run", "validate"])
def test_a_command_narrows_what_its_file_may_name(command: str, folder: Path, capsys: Capture):
    (folder / "c.yaml").write_text('tasks: {t: {command: touch ran, env: {K: "${KEY}"}}}')
    assert main([command, "c.yaml", "--no-commands"]) == 65
    told = capsys.readouterr().err
    assert "E201" in told
    assert "--no-commands" in told
    assert main([command, "c.yaml", "--allow-env", "OTHER"]) == 65
    assert "--allow-env KEY" in capsys.readouterr().err
    assert not (folder / "ran").exists()


def test_a_command_of_the_command_line_is_no_command_of_the_file(folder: Path, capsys: Capture):
    (folder / "w.yaml").write_text("tasks: {t: {agent: x}}")
    assert main(["run", "w.yaml", "--no-commands", "--agent", "x=command:touch ran", "--quiet"]) == 0
    assert (folder / "ran").exists()
    capsys.readouterr()


@pytest.mark.parametrize(
    ("listed", "status"), [("[]", 65), ('["OTHER"]', 65), ('["KEY", "OTHER"]', 0), (None, 0)]
)
def test_a_configuration_narrows_as_well_with_an_empty_list_too(
    listed: str | None, status: int, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
):
    monkeypatch.setenv("KEY", "key-of-the-shop")
    hook = "{type: log, params: {message: done}}"
    (folder / "w.yaml").write_text(
        f'hooks: {{task_finished: [{hook}]}}\ntasks: {{t: {{agent: x, env: {{K: "${{KEY}}"}}}}}}'
    )
    if listed is not None:
        (folder / "actorflow.toml").write_text(f"allow_env = {listed}\n")
    for command in (
        ["run", "w.yaml", "--agent", "x=echo", "--quiet"],
        ["validate", "w.yaml"],
        ["hooks", "test", "w.yaml", "task_finished"],
    ):
        assert main(command) == status
    assert main(["validate", "w.yaml", "--allow-env", "KEY"]) == 0
    assert main(["validate", "w.yaml", "--no-config"]) == 0
    capsys.readouterr()


def test_changes_are_accepted_on_the_terms_of_the_command_that_accepts_them(folder: Path, capsys: Capture):
    (folder / "w.yaml").write_text("name: w\ntasks: {t: {agent: x}}")
    assert main(["run", "w.yaml", "--agent", "x=fail", "--run-id", "r-1", "--quiet"]) == 1
    accept = ["resume", "r-1", "--accept-changes", "w.yaml", "--quiet"]
    (folder / "w.yaml").write_text("name: w\ntasks: {t: {command: touch ran}}")
    assert main([*accept, "--no-commands"]) == 65
    assert "E201" in capsys.readouterr().err
    assert not (folder / "ran").exists()
    assert main(accept) == 0
    capsys.readouterr()


@pytest.mark.parametrize("name", ["A-B", "1A", "", "A=1"])
def test_a_name_that_no_variable_can_have_is_a_wrong_command_line(name: str, capsys: Capture):
    assert main(["run", "data.yaml", "--trust", "data", "--allow-env", name]) == 64
    assert "cannot be the name of a variable" in capsys.readouterr().err


def test_the_hooks_of_a_run_are_listed_with_the_batch_that_they_were_sent_in(
    sink: ChaosSink, folder: Path, capsys: Capture
):
    batched = HOOKED.replace("retry: {max_attempts: 1}", "batch: {max: 2, window: 5s}")
    (folder / "hooked.yaml").write_text(
        batched.replace("{ship: {agent: x}}", "{ship: {agent: x}, bill: {agent: x}}")
    )
    words = ["run", "hooked.yaml", "--agent", "x=echo", "--run-id", "r-1", "--quiet"]
    assert main([*words, "--allow-host", origin(sink)]) == 0
    (request,) = sink.requests
    capsys.readouterr()
    assert main(["hooks", "list", "r-1", "--json"]) == 0
    listed = shown(capsys)["hooks"]
    assert {hook["batch"] for hook in listed} == {request.header("webhook-id")}
    assert main(["hooks", "list", "r-1"]) == 0
    assert capsys.readouterr().out.count(" in b_") == 2
