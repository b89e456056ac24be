"""Who performs a task: scripts, commands, requests, and what only an agent of the caller's can do.

| theirs | ours |
|---|---|
| `script: {language, content}` | `script: {language, text}` |
| `command: {executable, args}` | `command: [executable, …args]` |
| `http: {…, auth: {type: bearer, token}}` | `http: {…, auth: {bearer: token}}` |
| `mcp_tool: {server, tool, parameters}` | the agent `mcp`, with those three as its input |
| `llm: {prompt, model, …}` | the agent `llm`, with the prompt as its input and the rest as options |
| `uses: name@version`, `uses_workflow: group:name` | the agent of that name |

Their `env` and `timeout_secs` become the task's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from actorflow.spec.compat.places import Place
from actorflow.spec.compat.trees import laid_over, mapping, mark_of, renamed, taken
from actorflow.spec.text.nodes import ListNode, MapNode, Node

__all__ = ["with_performer"]

_RUN_KEYS: Final = {"env": "env", "timeout_secs": "timeout"}
_SCRIPT_KEYS: Final = frozenset({"content", "working_dir", *_RUN_KEYS})
_COMMAND_KEYS: Final = frozenset(
    {"executable", "args", "working_dir", "capture_stdout", "capture_stderr", *_RUN_KEYS}
)
_INPUT_OF_LLM: Final = ("prompt", "system_prompt")
_PROOFS: Final = {
    "bearer": {"token": "bearer"},  # nosec B105
    "basic": {"username": "username", "password": "password"},  # nosec B105
    "api_key": {"header": "header", "key": "value"},
}
_DONE_ANYWAY: Final = {
    "capture_stdout": True,
    "capture_stderr": True,
    "verify_tls": True,
    "follow_redirects": True,
}


def with_performer(task: MapNode, place: Place) -> MapNode:
    """The task with whoever performs it in our words; itself where that is so already."""
    for key, read in _READERS.items():
        if key in task:
            return read(task, key, place)
    return task


def _script(task: MapNode, key: str, place: Place) -> MapNode:
    script = task[key]
    if not isinstance(script, MapNode) or script.keys().isdisjoint(_SCRIPT_KEYS):
        return task
    made = renamed(script.without(_RUN_KEYS), {"content": "text", "working_dir": "cwd"})
    return _run(task, key, script, made, place)


def _command(task: MapNode, key: str, place: Place) -> MapNode:
    command = task[key]
    if not isinstance(command, MapNode) or "executable" not in command:
        return task
    place.file.aside.strip(command, command.keys() - _COMMAND_KEYS)
    args = command.get("args")
    argv = ListNode(command.mark)
    argv.put(command["executable"], mark_of(command, "executable"))
    if isinstance(args, ListNode):
        for item, mark in zip(args, args.marks, strict=True):
            argv.put(item, mark)
    made = _run(task, key, command, argv, place)
    return _joined(made, taken(command, {"working_dir": "cwd"}))


def _http(task: MapNode, key: str, place: Place) -> MapNode:
    http = task[key]
    if not isinstance(http, MapNode):
        return task
    auth = http.get("auth")
    theirs = {"timeout_secs", "follow_redirects", "verify_tls"}
    if http.keys().isdisjoint(theirs) and not (isinstance(auth, MapNode) and "type" in auth):
        return task
    made = http.without({*theirs, "auth"})
    if isinstance(auth, MapNode):
        made = _with_auth(made, auth, place)
    elif "auth" in http:
        made.take(http, "auth")
    return _run(task, key, http, made, place)


def _with_auth(http: MapNode, auth: MapNode, place: Place) -> MapNode:
    """The request with its `auth`; headers of one's own are headers."""
    kind = auth.get("type")
    own = auth.get("headers")
    if kind == "custom" and isinstance(own, MapNode):
        headers = http.get("headers")
        merged = headers.without(()) if isinstance(headers, MapNode) else MapNode(auth.mark)
        for name in own:
            merged.take(own, name)
        return http.with_entry("headers", merged, auth.mark)
    proof = _PROOFS.get(kind) if isinstance(kind, str) else None
    if proof is None:
        return http.with_entry("auth", auth, auth.mark)
    missing = [name for name in proof if name not in auth]
    for name in missing:
        message = f"tasks.{place.task}.http.auth: type: {kind} needs {name!r}"
        place.file.report.add("E122", auth.mark, message, f"add {name}:")
    if missing:
        return http
    fields = taken(auth, proof)
    value = fields.get("bearer", fields)
    return http.with_entry("auth", mapping(auth.mark, {str(kind): value}), auth.mark)


def _run(task: MapNode, key: str, source: MapNode, made: Node, place: Place) -> MapNode:
    """The task with a command, script or request, and without the agent that is named beside it."""
    aside = place.file.aside
    for name, usual in _DONE_ANYWAY.items():
        if source.get(name, usual) != usual:
            aside.note(name, source.key_marks.get(name, source.mark))
    rest = aside.strip(task, ("agent",), f"{key}: says who performs the task already")
    return _joined(laid_over(rest, {key: made}, mark_of(task, key)), taken(source, _RUN_KEYS))


def _joined(task: MapNode, entries: MapNode) -> MapNode:
    """The task with more entries, of which its own `env` and `timeout` come first."""
    copy = task.without(())
    for name, value in entries.items():
        if name not in task:
            copy.take(entries, name)
        elif isinstance(value, MapNode) and isinstance(own := task[name], MapNode):
            merged = value.without(())
            for each in own:
                merged.take(own, each)
            copy[name] = merged
    return copy


def _mcp_tool(task: MapNode, key: str, place: Place) -> MapNode:
    tool = task[key]
    if not isinstance(tool, MapNode):
        return task
    given = tool.without({"timeout_secs"})
    task = _alone(task, key, place)
    return _by_agent(task, key, "mcp", given, taken(tool, {"timeout_secs": "timeout"}))


def _llm(task: MapNode, key: str, place: Place) -> MapNode:
    llm = task[key]
    if not isinstance(llm, MapNode):
        return task
    llm = place.file.aside.strip(
        llm, ("api_key",), "the agent that is bound under the name llm holds its own"
    )
    given = taken(llm, {name: name for name in _INPUT_OF_LLM})
    options = llm.without({*_INPUT_OF_LLM, "timeout_secs"})
    task = _alone(task, key, place)
    made = _by_agent(task, key, "llm", given, taken(llm, {"timeout_secs": "timeout"}))
    return _joined(made, laid_over(MapNode(llm.mark), {"options": options}, llm.mark))


def _alone(task: MapNode, key: str, place: Place) -> MapNode:
    """The task without what says once more who performs it, and what is given."""
    return place.file.aside.strip(
        task, ("agent", "with"), f"{key}: says who performs the task, and what is given"
    )


def _by_agent(task: MapNode, key: str, agent: str, given: MapNode, entries: MapNode) -> MapNode:
    mark = mark_of(task, key)
    return _joined(laid_over(task.without((key,)), {"agent": agent, "with": given}, mark), entries)


def _uses(task: MapNode, key: str, place: Place) -> MapNode:
    """A task of a library, `name@version` or `group:name`: the agent of that name. `uses: FILE` is ours."""
    name = task[key]
    if not isinstance(name, str) or "type" in task or (key == "uses" and "@" not in name):
        return task
    agent = place.file.library.of(name)
    return laid_over(task.without((key,)), {"agent": agent}, mark_of(task, key)) if agent else task


_READERS: Final[Mapping[str, Callable[[MapNode, str, Place], MapNode]]] = {
    "script": _script,
    "command": _command,
    "http": _http,
    "mcp_tool": _mcp_tool,
    "llm": _llm,
    "uses": _uses,
    "embed": _uses,
    "uses_workflow": _uses,
}
