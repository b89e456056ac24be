"""`actorflow new`: a folder that runs, to begin with."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
import tomllib
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

import orjson

from actorflow.cli.layout import columns
from actorflow.cli.screen import as_line
from actorflow.cli.settings import Settings
from actorflow.cli.statuses import Exit, FolderRefusedError
from actorflow.spec.surface.schema import workflow_schema

__all__ = ["TEMPLATES", "list_templates", "new_folder"]

TEMPLATES: Final = ("pipeline", "agents", "webhook", "embedded")

SCHEMA_FILE: Final = "workflow.schema.json"
"""Beside the workflow, whose first line points editors to it."""

_FOLDER: Final = files("actorflow.cli") / "templates"

_CONFIGURATION: Final = 'store = "runs.db"\n'
_ALLOWED: Final = 'allow_hosts = ["http://127.0.0.1:8799"]\n'
_IGNORED: Final = "runs.db*\n__pycache__/\n"


def list_templates(settings: Settings) -> int:
    """Say what each template is."""
    described = _descriptions()
    if settings.screen.is_json:
        settings.screen.document(described)
    else:
        settings.screen.result("\n".join(columns(described.items())))
    return Exit.SUCCESS


def new_folder(settings: Settings, template: str, folder: str) -> int:
    """Make the folder, whole or not at all.

    Raises:
        FolderRefusedError: it is there and not empty, or cannot be made.
    """
    target = Path(folder)
    content = _content(template)
    try:
        if target.is_dir() and (others := sorted(os.listdir(target))):  # noqa: PTH208
            more = f" and {len(others) - 3} more" if len(others) > 3 else ""
            raise FolderRefusedError(
                f"{folder} is not empty ({', '.join(others[:3])}{more}); name another folder"
            )
        _write(target, content)
    except OSError as error:
        raise FolderRefusedError(f"cannot make the folder {folder}: {error.strerror}") from error
    screen = settings.screen
    if screen.is_json:
        screen.document({"folder": str(target.absolute()), "template": template, "files": sorted(content)})
        return Exit.SUCCESS
    described = columns([(name,) for name in sorted(content)], indent="  ")
    screen.result("\n".join([as_line(f"{folder}: {_descriptions()[template]}"), *map(as_line, described)]))
    steps = [f"cd {shlex.quote(folder)}", *_steps(content["README.md"].decode())]
    screen.note("\n".join(["to run it, as README.md says:", *(f"  {as_line(step)}" for step in steps)]))
    return Exit.SUCCESS


def _content(template: str) -> dict[str, bytes]:
    """The files of a folder by name, those that are made included."""
    with as_file(_FOLDER / template) as source:
        content = {path.name: path.read_bytes() for path in source.iterdir() if path.is_file()}
    content[".gitignore"] = _IGNORED.encode()
    if template != "embedded":
        allowed = _ALLOWED if template == "webhook" else ""
        content["actorflow.toml"] = (_CONFIGURATION + allowed).encode()
        content[SCHEMA_FILE] = orjson.dumps(workflow_schema(), option=orjson.OPT_INDENT_2) + b"\n"
    return content


def _write(target: Path, content: Mapping[str, bytes]) -> None:
    """Make all files beside the place where they are to be, and give them their folder's name at once."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".actorflow-new-", dir=target.parent))
    try:
        for name, data in content.items():
            (unfinished / name).write_bytes(data)
        unfinished.chmod(0o755)
        unfinished.rename(target)  # in place of an empty one, or of none
    except OSError:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _steps(readme: str) -> list[str]:
    """The first commands of a README."""
    return readme.partition("```sh\n")[2].partition("```")[0].splitlines()


def _descriptions() -> dict[str, str]:
    return tomllib.loads((_FOLDER / "descriptions.toml").read_text(encoding="utf-8"))
