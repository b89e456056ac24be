"""The commands: their words and options. What they do is imported when they do it."""

# ruff: noqa: PLC0415 - `--help` and `version` answer without the runtime
from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from actorflow.cli.app_hooks import add_hook_commands
from actorflow.cli.app_runs import add_run_commands
from actorflow.cli.app_store import add_store_commands
from actorflow.cli.options import (
    BACKEND,
    GRACE_HELP,
    agents_option,
    for_every_command,
    pairs,
    plain_option,
    seconds,
    strict_option,
    trust_options,
)
from actorflow.cli.settings import Settings

if TYPE_CHECKING:
    from actorflow.cli.start import IfRunning
    from actorflow.spec.model import Trust


@click.group(no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"]})
@for_every_command
def app() -> None:
    """Run workflows that survive a crash: every step is recorded, and a run that stopped can be resumed."""


@app.command()
@for_every_command
@click.argument("file", metavar="FILE|-")
@click.option("--workflow", metavar="NAME", help="The entry of the file's workflows that is meant.")
@click.option(
    "--input",
    "inputs",
    metavar="NAME=VALUE",
    multiple=True,
    callback=pairs,
    help="An input. May be repeated.",
)
@click.option(
    "--input-file", metavar="FILE", help="Inputs as a mapping in JSON or YAML; --input comes first."
)
@agents_option
@trust_options
@click.option(
    "--durability", type=click.Choice(["full", "normal", "memory"]), help="Instead of what the file says."
)
@click.option("--max-parallel", type=click.IntRange(1, 100_000), help="Attempts that run side by side.")
@click.option("--backend", type=BACKEND, default="asyncio", show_default=True, help="The event loop.")
@click.option("--run-id", metavar="ID", help="A name for the run.")
@click.option(
    "--grace", metavar="DURATION", default="10s", show_default=True, callback=seconds, help=GRACE_HELP
)
@click.option(
    "--if-running",
    type=click.Choice(["start", "skip", "wait", "fail"]),
    default="start",
    show_default=True,
    help="What to do while another run of the workflow is under way, in whatever process.",
)
@strict_option
@plain_option
@click.pass_obj
def run(
    settings: Settings,
    *,
    file: str,
    workflow: str | None,
    inputs: dict[str, str],
    input_file: str | None,
    agents: dict[str, str],
    trust: Trust,
    allow_hosts: tuple[str, ...],
    allow_env: tuple[str, ...],
    no_commands: bool,
    durability: str | None,
    max_parallel: int | None,
    backend: str,
    run_id: str | None,
    grace: float,
    if_running: IfRunning,
    strict: bool,
) -> int:
    """Run a workflow file, or one that comes on stdin, to its end."""
    from actorflow.cli.allowances import Allowances
    from actorflow.cli.start import Flags, StartRequest, start

    request = StartRequest(
        file=file,
        workflow=workflow,
        inputs=inputs,
        input_file=input_file,
        agents=agents,
        run_id=run_id,
        flags=Flags(backend=backend, durability=durability, max_parallel=max_parallel, grace=grace),
        if_running=if_running,
        is_strict=strict,
        trust=trust,
        allows=Allowances(hosts=allow_hosts, env=allow_env, no_commands=no_commands),
    )
    return start(settings.for_file(file, trust), request)


@app.command()
@for_every_command
@click.argument(
    "template", type=click.Choice(["pipeline", "agents", "webhook", "embedded"]), default="pipeline"
)
@click.argument("folder", metavar="[FOLDER]", required=False)
@click.option("--list", "is_list", is_flag=True, help="Say what each template is, and make nothing.")
@click.pass_obj
def new(settings: Settings, *, template: str, folder: str | None, is_list: bool) -> int:
    """Make a folder with a workflow that runs.

    Without FOLDER it is called as its template.
    """
    from actorflow.cli.new import list_templates, new_folder

    return list_templates(settings) if is_list else new_folder(settings, template, folder or template)


@app.command()
@for_every_command
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@trust_options
@click.pass_obj
def validate(
    settings: Settings,
    *,
    files: tuple[str, ...],
    trust: Trust,
    allow_hosts: tuple[str, ...],
    allow_env: tuple[str, ...],
    no_commands: bool,
) -> int:
    """Check workflow files, and say what they need.

    That is agents, programs, hosts, variables and files; of the hosts also which of them the lists allow.
    """
    from actorflow.cli.allowances import Allowances
    from actorflow.cli.validate import validate

    allows = Allowances(hosts=allow_hosts, env=allow_env, no_commands=no_commands)
    return validate(settings, files, trust, allows)


@app.command()
@for_every_command
@click.pass_obj
def schema(settings: Settings) -> int:
    """Print the JSON Schema of workflow files, for editors."""
    from actorflow.cli.schema import show_schema

    return show_schema(settings.screen)


@app.command("list")
@for_every_command
@click.pass_obj
def list_(settings: Settings) -> int:
    """List all runs, the latest first."""
    from actorflow.cli.inspect import list_runs

    return list_runs(settings)


@app.command()
@for_every_command
@click.argument("run", metavar="RUN|last")
@click.argument("task", metavar="[TASK]", required=False)
@click.option("--all", "shows_all", is_flag=True, help="Bars for all tasks and generations, however many.")
@click.pass_obj
def show(settings: Settings, run: str, task: str | None, *, shows_all: bool) -> int:
    """Show a run, or one of its tasks with all of its attempts."""
    from actorflow.cli.inspect import show_run, show_task

    if task is not None:
        return show_task(settings, run, task)
    return show_run(settings, run, shows_all=shows_all)


@app.command()
@for_every_command
@click.argument("run", metavar="RUN|last")
@click.argument("task", metavar="[TASK]", required=False)
@click.option("--follow", "-f", "follows", is_flag=True, help="Go on with what comes, until the run is over.")
@click.option("--stream", type=click.Choice(["stdout", "stderr"]), help="Only this one.")
@click.option(
    "--tail", metavar="N", type=click.IntRange(0), help="Of the lines that are there, only the last."
)
@click.pass_obj
def logs(
    settings: Settings,
    run: str,
    task: str | None,
    *,
    follows: bool,
    stream: Literal["stdout", "stderr"] | None,
    tail: int | None,
) -> int:
    """Print what the commands and scripts of a run have printed.

    Lines of stdout are marked by |, those of stderr by !, and with --json each is a document.
    """
    from actorflow.cli.logs import LogRequest, show_logs

    request = LogRequest(run=run, task=task, stream=stream, tail=tail, follows=follows)
    return show_logs(settings, request)


@app.command()
@for_every_command
@click.argument("name", metavar="FILE|-|RUN|last")
@click.option("--workflow", metavar="NAME", help="The entry of the file's workflows that is meant.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "mermaid", "dot"]),
    default="text",
    show_default=True,
    help="For the terminal, for pages, or for Graphviz.",
)
@click.pass_obj
def graph(
    settings: Settings, name: str, workflow: str | None, form: Literal["text", "mermaid", "dot"]
) -> int:
    """Draw the tasks of a file or of a run, in their order.

    With each stands what it waits for. What has a slash, ends in .yaml or .yml, or is there as a file is a file; anything else is a run.
    """
    from actorflow.cli.graph.command import show_graph

    return show_graph(settings, name, workflow, form)


@app.command()
@for_every_command
@click.argument("run", metavar="[RUN|last]", required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "prometheus"]),
    default="text",
    show_default=True,
    help="A table, or what Prometheus reads.",
)
@click.pass_obj
def metrics(settings: Settings, *, run: str | None, form: Literal["text", "prometheus"]) -> int:
    """Show what was counted and timed of all runs, or of one."""
    from actorflow.cli.metrics import show_metrics

    return show_metrics(settings, run, form)


@app.command()
@for_every_command
@click.pass_obj
def version(settings: Settings) -> int:
    """Show the version."""
    from actorflow import __version__

    if settings.screen.is_json:
        settings.screen.document({"version": __version__})
    else:
        settings.screen.result(f"actorflow {__version__}")
    return 0


add_run_commands(app)
add_hook_commands(app)
add_store_commands(app)
