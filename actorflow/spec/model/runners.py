"""Who performs attempts: four kinds of runner, and agents, which have one or are bound by the caller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from attrs import field, frozen

from actorflow.spec.model.words import Language


def no_entries() -> dict[str, Any]:
    """A new mapping for a field that is not given; `dict[str, Any]` itself, as a factory, takes five times as long."""
    return {}


@frozen(kw_only=True)
class PythonRunner:
    """A Python callable, named as `package.module:function`."""

    path: str


@frozen(kw_only=True)
class CommandRunner:
    """A command: a string is a shell's, opaque to us; a list is an argv whose items are templates."""

    command: str | tuple[str, ...]
    cwd: str | None = None  #: relative to the workflow's folder; None: that folder


@frozen(kw_only=True)
class ScriptRunner:
    """A script: a text of its own, run from a private temporary file, or a file that is run where it lies."""

    language: Language
    text: str | None = None  #: opaque to us; None where `file` is given
    file: str | None = None  #: relative to the workflow's folder
    args: tuple[str, ...] = ()  #: templates
    cwd: str | None = None


@frozen(kw_only=True)
class HttpAuth:
    """How a request proves who sends it; the values are templates that may hold secrets."""

    kind: Literal["bearer", "basic", "api_key"]
    values: Mapping[str, str]  #: `token`; or `username` and `password`; or `header` and `value`


@frozen(kw_only=True)
class HttpRunner:
    """One HTTP request for each attempt."""

    url: str
    method: str = "GET"
    headers: Mapping[str, Any] = field(factory=no_entries)
    query: Mapping[str, Any] = field(factory=no_entries)
    body: str | None = None
    json: Any = None
    has_json: bool = False
    auth: HttpAuth | None = None
    expect_status: tuple[int, ...] = ()  #: empty: any 2xx
    extract: str | None = None  #: a bare expression over `output`, the answer's body


Runner: TypeAlias = PythonRunner | CommandRunner | ScriptRunner | HttpRunner


@frozen(kw_only=True)
class AgentSpec:
    """Who performs attempts: a runner, or a name that the caller binds."""

    name: str
    description: str = ""
    runner: Runner | None = None
    env: Mapping[str, Any] = field(factory=no_entries)
    timeout: float | None = None  #: seconds per attempt; a task's own timeout comes first
    soft_errors: bool = False  #: as for a task
    options: Mapping[str, Any] = field(factory=no_entries)  #: keys that only the agent understands


RUNNER_WORDS: Mapping[type[Runner], str] = {
    PythonRunner: "python",
    CommandRunner: "command",
    ScriptRunner: "script",
    HttpRunner: "http",
}
