"""Keys of agents and of the ways in which an attempt is performed."""

from __future__ import annotations

from typing import ClassVar, Literal

from actorflow.spec.model import Language
from actorflow.spec.surface.forms import (
    Command,
    Data,
    Duration,
    Expression,
    ImportPath,
    Name,
    ScriptText,
    Statuses,
    Text,
    Url,
    Variable,
    VariableName,
    key,
    mapping,
)


@mapping
class Script:
    """A script, in its language's own words: nothing of ours is looked for in its text."""

    ONE_OF: ClassVar = ("text", "file")

    language: Language = key("Who runs it; told by the first line or the file's ending if not given.")
    text: ScriptText = key("The script itself.")
    file: Name = key("A script's file, relative to the workflow's.")
    args: list[Text] = key("Arguments; each may hold templates.")
    cwd: Name = key("The folder it runs in, relative to the workflow's.")


@mapping
class BasicAuth:
    """A user and a password."""

    username: Text = key("May hold templates.", must=True)
    password: Text = key("A secret, ${NAME}.", must=True)


@mapping
class ApiKey:
    """A header that proves who asks."""

    header: Name = key("The header's name.", must=True)
    value: Text = key("A secret, ${NAME}.", must=True)


@mapping
class HttpAuth:
    """How a request proves who sends it."""

    ONE_OF: ClassVar = ("bearer", "basic", "api_key")

    bearer: Text = key("A token: a secret, ${NAME}.")
    basic: BasicAuth = key("A user and a password.")
    api_key: ApiKey = key("A header.")


@mapping
class Http:
    """One HTTP request for each attempt."""

    AT_MOST_ONE: ClassVar = ("body", "json")

    url: Url = key("Where to; may hold templates and ${NAME}.", must=True)
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = key("GET if not given.")
    headers: dict[str, Text | int | float] = key("May hold templates and ${NAME}.")
    query: dict[str, Variable | list[Variable]] = key("Parameters that are added to the URL.")
    body: Text = key("The body as text.")
    json: Data = key("The body as JSON.")
    auth: HttpAuth = key("Who asks.")
    expect_status: Statuses = key("What counts as success; any 2xx if not given.")
    extract: Expression = key("An expression over the answer that gives the output.")


@mapping
class Agent:
    """Who performs attempts: by one of python, command, script and http, or bound by the caller."""

    AT_MOST_ONE: ClassVar = ("python", "command", "script", "http")

    description: Text = key("What it is; an agent that reads prompts gets it.")
    python: ImportPath = key("A Python callable.")
    command: Command = key("A command, in the workflow file's folder.")
    script: ScriptText | Script = key("A script.")
    http: Http = key("An HTTP request.")
    cwd: Name = key("Where the command runs, relative to the workflow file.")
    raw: bool = key("Whether what looks like a template of ours in a shell's text is meant as it stands.")
    env: dict[VariableName, Variable] = key("Variables for the attempts; may hold templates and ${NAME}.")
    timeout: Duration = key("Of each attempt; a task's own comes first.")
    soft_errors: bool = key("Whether an output with an `error`, or `success: false`, is a failure.")
    options: dict[str, Data] = key("What only the agent understands.")
