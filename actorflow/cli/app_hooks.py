"""The commands about hooks: their words and options."""

# ruff: noqa: PLC0415 - `--help` and `version` answer without the runtime
from __future__ import annotations

from typing import Literal

import click

from actorflow.cli.options import agents_option, for_every_command, hosts_option, pairs, seconds
from actorflow.cli.settings import Settings


def add_hook_commands(app: click.Group) -> None:
    """Add them to the program."""
    app.add_command(hooks)


@click.group(no_args_is_help=False)
@for_every_command
def hooks() -> None:
    """See what hooks do, and deliver what is owed."""


@hooks.command()
@for_every_command
@click.pass_obj
def events(settings: Settings) -> int:
    """List the events of the lifecycle."""
    from actorflow.cli.hooks.catalogue import show_events

    return show_events(settings)


@hooks.command()
@for_every_command
@click.pass_obj
def actions(settings: Settings) -> int:
    """List what hooks can do, with the params of each."""
    from actorflow.cli.hooks.catalogue import show_actions

    return show_actions(settings)


@hooks.command("list")
@for_every_command
@click.argument("run", metavar="RUN|last")
@click.pass_obj
def list_(settings: Settings, *, run: str) -> int:
    """List what became of each hook of a run, and what is still owed."""
    from actorflow.cli.hooks.listing import list_hooks

    return list_hooks(settings, run)


@hooks.command()
@for_every_command
@click.argument("run", metavar="[RUN|last]", required=False)
@click.option(
    "--timeout",
    metavar="DURATION",
    default="10s",
    show_default=True,
    callback=seconds,
    help="How long the deliveries of each run are waited for; what is not delivered then stays.",
)
@agents_option
@hosts_option
@click.pass_obj
def drain(
    settings: Settings,
    *,
    run: str | None,
    timeout: float,
    agents: dict[str, str],
    allow_hosts: tuple[str, ...],
) -> int:
    """Deliver what hooks of a run are owed, or of all runs.

    All are those that nobody has. No task runs. Status 1 if anything failed, was given up, or stays.
    """
    from actorflow.cli.allowances import Allowances
    from actorflow.cli.hooks.drain import DrainRequest, drain_hooks

    allows = Allowances(hosts=allow_hosts)
    request = DrainRequest(run=run, timeout_s=timeout, agents=agents, allows=allows)
    return drain_hooks(settings, request)


@hooks.command()
@for_every_command
@click.argument("file", metavar="FILE|-")
@click.argument("event", metavar="EVENT")
@click.option("--workflow", metavar="NAME", help="The entry of the file's workflows that is meant.")
@click.option("--task", metavar="TASK", help="The task that it happens to; the first one if not given.")
@click.option(
    "--status",
    type=click.Choice(["success", "failed", "canceled"]),
    help="How the task, stage or run ends; success if not given, but for on_error.",
)
@click.option(
    "--input",
    "inputs",
    metavar="NAME=VALUE",
    multiple=True,
    callback=pairs,
    help="An input; what must be given and is not is made up. May be repeated.",
)
@click.option(
    "--output",
    "outputs",
    metavar="[TASK=]JSON",
    multiple=True,
    help="What a task gave; {} if not given. May be repeated.",
)
@click.option("--run", "is_for_real", is_flag=True, help="Perform the hooks, instead of only showing them.")
@hosts_option
@click.pass_obj
def test(
    settings: Settings,
    *,
    file: str,
    event: str,
    workflow: str | None,
    task: str | None,
    status: Literal["success", "failed", "canceled"] | None,
    inputs: dict[str, str],
    outputs: tuple[str, ...],
    is_for_real: bool,
    allow_hosts: tuple[str, ...],
) -> int:
    """Show what the hooks of an event would do, with sample data.

    With --run, they do it. No task runs, nothing is kept, and what hooks start as runs is not started.
    """
    from actorflow.cli.allowances import Allowances
    from actorflow.cli.hooks.trial import try_hooks
    from actorflow.cli.samples import TrialRequest

    request = TrialRequest(
        file=file,
        event=event,
        workflow=workflow,
        task=task,
        status=status,
        inputs=inputs,
        outputs=outputs,
        is_for_real=is_for_real,
    )
    return try_hooks(settings.for_file(file), request, Allowances(hosts=allow_hosts))
