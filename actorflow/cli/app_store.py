"""The commands that take runs out of a store, or a copy of one: their words and options."""

# ruff: noqa: PLC0415 - `--help` and `version` answer without the runtime
from __future__ import annotations

import click

from actorflow.cli.options import for_every_command, seconds
from actorflow.cli.settings import Settings


def add_store_commands(app: click.Group) -> None:
    """Add them to the program."""
    for command in (prune, delete, export, doctor):
        app.add_command(command)


@click.command()
@for_every_command
@click.option(
    "--older-than",
    metavar="DURATION",
    callback=seconds,
    help="Runs that ended longer ago than this, such as 720h, where their workflow has no limits.keep.",
)
@click.option("--keep", metavar="N", type=click.IntRange(0), help="The latest N of each workflow stay.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and remove nothing.")
@click.pass_obj
def prune(settings: Settings, *, older_than: float | None, keep: int | None, dry_run: bool) -> int:
    """Remove runs that ended long ago.

    How long that is, limits.keep of their workflow says, else --older-than. Runs that hooks have started go with the run
    that they belong to. What runs, is paused or crashed, or is owed deliveries stays.
    """
    from actorflow.cli.store.prune import PruneRequest, prune

    return prune(settings, PruneRequest(older_than_s=older_than, keep_count=keep, is_dry=dry_run))


@click.command()
@for_every_command
@click.argument("run", metavar="RUN")
@click.option("--force", is_flag=True, help="Also if its hooks are owed deliveries, or it is damaged.")
@click.pass_obj
def delete(settings: Settings, *, run: str, force: bool) -> int:
    """Remove a run with all that is only its own.

    Runs that its hooks have started stay. A run that a process has is never removed.
    """
    from actorflow.cli.store.delete import delete

    return delete(settings, run, force=force)


@click.command()
@for_every_command
@click.argument("run", metavar="RUN|last")
@click.option("--output", "-o", metavar="FILE", help="Write to this file, which only you may read.")
@click.pass_obj
def export(settings: Settings, *, run: str, output: str | None) -> int:
    """Write all that is kept of a run as one JSON document.

    That is its definition, inputs, events, tasks, outputs and deliveries, without what is sensitive.
    """
    from actorflow.cli.store.export import export

    return export(settings, run, output)


@click.command()
@for_every_command
@click.option(
    "--repair",
    is_flag=True,
    help="Rebuild what is derived from events; of a damaged store, save what can be read into a new file.",
)
@click.option(
    "--into", metavar="FILE", help="With --repair: save into this file, damaged or not; it must not be there."
)
@click.pass_obj
def doctor(settings: Settings, *, repair: bool, into: str | None) -> int:
    """Examine a store, and say what to do about it.

    It looks at versions, permissions and the file system, has SQLite check all pages, follows the chain of each run, folds
    it, and compares. --repair never changes a damaged store: it saves what can be read into a new one.
    """
    from actorflow.cli.store.doctor import doctor

    if into is not None and not repair:
        raise click.UsageError("--into goes with --repair", click.get_current_context())
    return doctor(settings, repair=repair, into=into)
