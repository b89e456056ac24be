"""Finding the function that a workflow names as `package.module:function`."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec
from types import ModuleType
from typing import Any, Final

from actorflow.errors import BindError

__all__ = ["load_function"]

_IMPORTING: Final = threading.RLock()  # a module may load functions while it is imported


def load_function(path: str, folder: str) -> Callable[..., Any]:
    """Import a function, from the workflow's folder first and then as any import would.

    The module that the workflow names is taken from its folder, whatever is installed under the same name; only the
    standard library comes before it. The folder is put at the **end** of `sys.path` and stays there: so that modules
    beside the named one can be imported, then or later, and yet a `json.py` or `requests.py` among them never takes
    the place of what the rest of the process means by that name.

    Args:
        path: the module's full name, a colon, and the function's name; the name may have dots.
        folder: where the workflow file lies, absolute.

    Raises:
        BindError: the path is malformed, the module is not found, cannot be imported or is loaded from elsewhere
            already, or has no such function; the cause is chained.
    """
    module_name, _, name = path.partition(":")
    parts = module_name.split(".")
    if not all(part.isidentifier() for part in (*parts, *name.split("."))):
        raise BindError(f"{path!r} does not name a function; write package.module:function")
    with _IMPORTING:
        module = _import(module_name, folder)
    found: Any = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise BindError(f"module {module_name!r} has no {name!r}{_hint(module_name)}") from error
    if not callable(found):
        raise BindError(f"{path!r} is a {type(found).__name__}, not a function")
    function: Callable[..., Any] = found
    return function


def _import(name: str, folder: str) -> ModuleType:
    if folder not in sys.path:
        sys.path.append(folder)
    PathFinder.invalidate_caches()  # the module may be younger than the last look at its folder
    try:
        _import_top(name.partition(".")[0], folder)
        return importlib.import_module(name)
    except BindError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise BindError(f"module {error.name!r} is neither in {folder} nor installed") from error
        raise BindError(f"importing {name!r} failed: {error}") from error
    except (Exception, SystemExit) as error:  # a script without a main guard may well exit
        raise BindError(f"importing {name!r} failed: {type(error).__name__}: {error}") from error


def _import_top(name: str, folder: str) -> None:
    """Import a module or package that the folder has itself, ahead of what is installed under its name."""
    spec = PathFinder.find_spec(name, [folder])
    if spec is None or spec.origin is None or name in sys.stdlib_module_names:
        return
    loaded = sys.modules.get(name)
    if loaded is None:
        _execute(spec)
    elif not _is_same_file(getattr(loaded, "__file__", None), spec.origin):
        raise BindError(
            f"module {name!r} of {folder} cannot be imported: another one of that name is loaded already"
            f" ({getattr(loaded, '__file__', None) or 'built in'}); rename one of them"
        )


def _execute(spec: ModuleSpec) -> None:
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(spec.name, None)
        raise


def _is_same_file(loaded: str | None, origin: str) -> bool:
    return loaded is not None and os.path.realpath(loaded) == os.path.realpath(origin)


def _hint(module_name: str) -> str:
    top = module_name.partition(".")[0]
    return f" ({top!r} is a module of Python itself; rename yours)" if top in sys.stdlib_module_names else ""
