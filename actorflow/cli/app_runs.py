"""The commands that go on with runs, or ask something of them: their words and options."""

# ruff: noqa: PLC0415 - `--help` and `version` answer without the runtime
from __future__ import annotations

import click

from actorflow.cli.options import (
    for_every_command,
    hosts_option,
    means_options,
    no_commands_option,
    plain_option,
    seconds,
    strict_option,
    variables_option,
)
from actorflow.cli.settings import Settings

_TAKE_OVER = click.option(
    "--take-over",
    is_flag=True,
    help="Take the run from a process that has given no sign of life for 30 s; it loses all of its runs.",
)


def add_run_commands(app: click.Group) -> None:
    """Add them to the program."""
    for command in (watch, resume, recover, cancel, pause, signal, dead_letters):
        app.add_command(command)


@click.command()
@for_every_command
@click.argument("run", metavar="RUN|last")
@means_options
@click.option(
    "--accept-changes",
    "accept",
    metavar="FILE",
    help="Go on by what this file says now, instead of what the run began with.",
)
@variables_option
@no_commands_option
@_TAKE_OVER
@strict_option
@plain_option
@click.pass_obj
def resume(
    settings: Settings,
    *,
    run: str,
    agents: dict[str, str],
    allow_hosts: tuple[str, ...],
    allow_env: tuple[str, ...],
    no_commands: bool,
    backend: str | None,
    grace: float | None,
    accept: str | None,
    take_over: bool,
    strict: bool,
) -> int:
    """Go on with a run, or run again what failed.

    RUN is an id or the unique beginning of one; `last` is the latest run that is paused or crashed. It goes on by the
    definition that it began with, whatever its file says now; --accept-changes moves it to what a file says, if only
    tasks differ there that have not begun. What it may reach is said anew each time.
    """
    from actorflow.cli.allowances import Allowances
    from actorflow.cli.found import Means
    from actorflow.cli.resume import ResumeRequest, resume

    allows = Allowances(hosts=allow_hosts, env=allow_env, no_commands=no_commands)
    means = Means(agents=agents, backend=backend, grace=grace, allows=allows)
    request = ResumeRequest(run=run, means=means, accept=accept, take_over=take_over, is_strict=strict)
    return resume(settings, request)


@click.command()
@for_every_command
@click.argument("run", metavar="RUN|last")
@plain_option
@click.pass_obj
def watch(settings: Settings, *, run: str) -> int:
    """Watch a run, whichever process runs it, until it is over.

    It is only read. The exit status is that of the run. With --json, each event is a document in a line of its own.
    """
    from actorflow.cli.watch import watch

    return watch(settings, run)


@click.command()
@for_every_command
@means_options
@click.pass_obj
def recover(
    settings: Settings,
    *,
    agents: dict[str, str],
    allow_hosts: tuple[str, ...],
    backend: str | None,
    grace: float | None,
) -> int:
    """Go on with all runs whose process is gone.

    They go on side by side. Runs of a process that lives and gives no sign of life are named, and left.
    """
    from actorflow.cli.allowances import Allowances
    from actorflow.cli.found import Means
    from actorflow.cli.recover import recover

    allows = Allowances(hosts=allow_hosts)
    return recover(settings, Means(agents=agents, backend=backend, grace=grace, allows=allows))


@click.command()
@for_every_command
@click.argument("run", metavar="RUN|last")
@click.option("--now", is_flag=True, help="Kill what runs at once, instead of asking it to end.")
@_TAKE_OVER
@hosts_option
@click.pass_obj
def cancel(settings: Settings, *, run: str, now: bool, take_over: bool, allow_hosts: tuple[str, ...]) -> int:
    """Cancel a run, whichever process runs it.

    The last hooks of a run that nobody runs are run here.
    """
    from actorflow.cli.allowances import Allowances
    from actorflow.cli.control import cancel

    return cancel(settings, run, now=now, take_over=take_over, allows=Allowances(hosts=allow_hosts))


@click.command()
@for_every_command
@click.argument("run", metavar="RUN|last")
@click.option(
    "--grace", metavar="DURATION", callback=seconds, help="How long running tasks get to end, such as 30s."
)
@_TAKE_OVER
@click.pass_obj
def pause(settings: Settings, *, run: str, grace: float | None, take_over: bool) -> int:
    """Pause a run, whichever process runs it.

    Nothing new starts, and what runs gets its grace period to end; `resume` goes on.
    """
    from actorflow.cli.control import pause

    return pause(settings, run, grace=grace, take_over=take_over)


@click.command()
@for_every_command
@click.argument("run", metavar="RUN|last")
@click.argument("name", metavar="NAME")
@click.option("--payload", metavar="JSON|@FILE", help="What goes with it; null if not given.")
@click.option("--id", "signal_id", metavar="ID", help="Sent again under the same id, it is received once.")
@click.pass_obj
def signal(settings: Settings, *, run: str, name: str, payload: str | None, signal_id: str | None) -> int:
    """Send a run a named message, which it keeps."""
    from actorflow.cli.control import signal_run

    return signal_run(settings, run, name, payload=payload, signal_id=signal_id)


@click.group("dead-letters", no_args_is_help=False)
@for_every_command
def dead_letters() -> None:
    """See to tasks and deliveries that failed for good.

    Look at them, try them again, or forget them. ID is a dead letter's id, or the unique beginning of one.
    """


@dead_letters.command("list")
@for_every_command
@click.pass_obj
def list_(settings: Settings) -> int:
    """List all dead letters, oldest first."""
    from actorflow.cli.dead_letters import list_letters

    return list_letters(settings)


@dead_letters.command("show")
@for_every_command
@click.argument("letter", metavar="ID")
@click.pass_obj
def show_letter(settings: Settings, *, letter: str) -> int:
    """Show a dead letter: what it was about, its error, what was tried."""
    from actorflow.cli.dead_letters import show_letter

    return show_letter(settings, letter)


@dead_letters.command("retry")
@for_every_command
@click.argument("letters", metavar="[ID...]", nargs=-1)
@click.option("--run", metavar="RUN|last", help="All deliveries of this run that were given up.")
@means_options
@click.pass_obj
def retry_letters(
    settings: Settings,
    *,
    letters: tuple[str, ...],
    run: str | None,
    agents: dict[str, str],
    allow_hosts: tuple[str, ...],
    backend: str | None,
    grace: float | None,
) -> int:
    """Try what was given up again.

    For a task its run is resumed, for it and what is below it. Of deliveries, only the hooks act; no task runs.
    """
    from actorflow.cli.allowances import Allowances
    from actorflow.cli.dead_letters import retry_letters
    from actorflow.cli.found import Means

    allows = Allowances(hosts=allow_hosts)
    means = Means(agents=agents, backend=backend, grace=grace, allows=allows)
    return retry_letters(settings, letters, run, means)


@dead_letters.command("purge")
@for_every_command
@click.argument("letters", metavar="[ID...]", nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="All of the store.")
@click.pass_obj
def purge_letters(settings: Settings, *, letters: tuple[str, ...], is_all: bool) -> int:
    """Forget dead letters; their runs stay as they are."""
    from actorflow.cli.dead_letters import purge_letters

    return purge_letters(settings, letters, is_all=is_all)
