"""Loops: `for_each` becomes a collection, `repeat`, `while` and `repeat_until` our `loop:`.

    loop: {type: for_each, collection: {source: range, start: 1, end: 6}, iterator: n, parallel: true}

What is made of a collection's items, and of a loop, is in the tables of this module; `loop_control` beside it gives the
time limit and the condition that ends it early.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Final

from attrs import evolve

from actorflow.expression.names import ROOTS
from actorflow.spec.compat.conditions import expression
from actorflow.spec.compat.places import Place
from actorflow.spec.compat.spellings import respelled
from actorflow.spec.compat.trees import laid_over, mapping, mark_of, taken
from actorflow.spec.compat.words import LOOP_KEYS
from actorflow.spec.text.nodes import ListNode, MapNode, Node

__all__ = ["fetch_of", "with_loop"]

_KEYS: Final = ("loop", "loop_spec")
_FORMATS: Final = {"json": "json", "json_lines": "jsonl", "jsonl": "jsonl", "csv": "csv", "lines": "lines"}
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,119}")  # a number's name is longer by `_index`
_TAKEN_NAMES: Final = ROOTS | {
    "item", "index", "and", "else", "false", "if", "in", "not", "null", "or", "true", "vars", "now", "none", "None",
    "True", "False",
}  # fmt: skip
_LOST: Final = {"for_each": frozenset({"break_condition"})}
_CONTROL_ASIDE: Final = frozenset(
    {"checkpoint_interval", "continue_condition", "max_iterations", "result_key"}
)


def with_loop(task: MapNode, place: Place) -> tuple[MapNode, Place]:
    """The task with its loop in our words, and the place of what is inside it."""
    shape = _shape(task)
    if shape is None:
        return task, place
    kind, loop, key = shape
    repeated = evolve(place, last=_last_output(task))
    made = _KINDS[kind](loop, _control(task), repeated)
    if made is None:
        return task, place
    entries, names = made
    place.file.aside.strip(loop, loop.keys() - LOOP_KEYS)
    rest = _without_control(task.without((key,)), kind, place)
    is_loop = "loop" in entries
    if is_loop and "subtasks" in task:
        entries = {"type": "composite", **entries}
    inner = evolve(place, names={**place.names, **names})
    return laid_over(rest, entries, mark_of(task, key)), inner


def _last_output(task: MapNode) -> str:
    """What an iteration gives: the output of the task, or of the last of its subtasks."""
    subtasks = task.get("subtasks")
    last = subtasks[-1] if isinstance(subtasks, ListNode) and subtasks else None
    return f"output.{list(last)[-1]}" if isinstance(last, MapNode) and last else "output"


def fetch_of(task: MapNode, name: str) -> MapNode | None:
    """The request that fetches the items of a `for_each` over HTTP, as a task of its own; None for any other task."""
    shape = _shape(task)
    collection = _tagged(shape[1].get("collection"), "source") if shape is not None else None
    if collection is None or collection[0] != "http":
        return None
    source = collection[1]
    http = taken(source, {"url": "url", "method": "method", "headers": "headers", "body": "body"})
    if isinstance(source.get("json_path"), str):
        http.put(
            "extract",
            mark_of(source, "json_path"),
            f"output.{source['json_path']}",
            mark_of(source, "json_path"),
        )
    made = mapping(source.mark, {"description": f"The items of {name}", "http": http})
    if "depends_on" in task:
        made.take(task, "depends_on")
    return made


def _shape(task: MapNode) -> tuple[str, MapNode, str] | None:
    """The kind of a loop of that tool, its fields and the key that it stands under."""
    for key in _KEYS:
        tagged = _tagged(task.get(key), "type")
        if tagged is not None and tagged[0] in _KINDS:
            return *tagged, key
    return None


def _tagged(node: Node, tag: str) -> tuple[str, MapNode] | None:
    """A variant and its fields: `{type: repeat, count: 3}` or `{repeat: {count: 3}}`."""
    if not isinstance(node, MapNode):
        return None
    kind = node.get(tag)
    if isinstance(kind, str):
        return kind, node
    name = next(iter(node), "")
    fields = node.get(name)
    return (name, fields) if len(node) == 1 and isinstance(fields, MapNode) else None


def _control(task: MapNode) -> MapNode:
    control = task.get("loop_control")
    return control if isinstance(control, MapNode) else MapNode(task.mark)


_Entries = dict[str, Node]
_Made = tuple[_Entries, Mapping[str, str]] | None


def _for_each(loop: MapNode, control: MapNode, place: Place) -> _Made:
    items = _items(loop, place)
    if items is None:
        return None
    name = loop.get("iterator", "item")
    if not isinstance(name, str):
        return None
    return _collection(items, name, loop, control, place)


def _collection(items: Node, name: str, loop: MapNode, control: MapNode, place: Place) -> _Made:
    variable = name if _VARIABLE.fullmatch(name) and name not in _TAKEN_NAMES else "item"
    is_parallel = loop.get("parallel") is True
    entries: _Entries = {"type": "collection", "items": items}
    if variable != "item":
        entries["item_var"] = variable
    if "index" in place.names.values():
        entries["index_var"] = f"{variable}_index"
    entries["mode"] = "parallel" if is_parallel else "sequential"
    if is_parallel and loop.get("max_parallel") is not None:
        entries["max_parallel"] = loop["max_parallel"]
    return entries | _deadline(control), {name: variable}


def _repeat(loop: MapNode, control: MapNode, place: Place) -> _Made:
    count, name = loop.get("count"), loop.get("iterator", "index")
    if not isinstance(name, str):
        return None
    if loop.get("parallel") is True and isinstance(count, int):
        return _collection("{{ range(0, " + str(count) + ") }}", name, loop, control, place)
    stop = _stop(control, place)
    fields: _Entries = {"repeat": count} if stop is None else {"until": stop, "max_iterations": count}
    return _loop(fields, loop, control) | _deadline(control), {name: "index"}


def _while(loop: MapNode, control: MapNode, place: Place) -> _Made:
    test, stop = expression(loop.get("condition"), place), _stop(control, place)
    if test is None:
        return None
    text = test if stop is None else f"({test}) and not ({stop})"
    return _bounded({"while": text}, loop, control)


def _repeat_until(loop: MapNode, control: MapNode, place: Place) -> _Made:
    test, stop = expression(loop.get("condition"), place), _stop(control, place)
    if test is None:
        return None
    if loop.get("min_iterations", 1) != 1:
        place.file.aside.note("min_iterations", loop.key_marks.get("min_iterations", loop.mark))
    return _bounded({"until": test if stop is None else f"({test}) or ({stop})"}, loop, control)


def _bounded(fields: _Entries, loop: MapNode, control: MapNode) -> _Made:
    if "max_iterations" in loop:
        fields["max_iterations"] = loop["max_iterations"]
    name = loop.get("iteration_variable", "iteration")
    names = {name: "index"} if isinstance(name, str) else {}
    return _loop(fields, loop, control) | _deadline(control), names


def _loop(fields: _Entries, loop: MapNode, control: MapNode) -> _Entries:
    delay = loop.get("delay_between_secs")
    if delay is not None and delay != 0:
        fields["delay"] = delay
    if control.get("collect_results") is True:
        fields["collect"] = True
    return {"loop": mapping(loop.mark, fields)}


def _stop(control: MapNode, place: Place) -> str | None:
    """The condition that ends a loop early."""
    return expression(control.get("break_condition"), place)


def _deadline(control: MapNode) -> _Entries:
    return {"deadline": control["timeout_secs"]} if control.get("timeout_secs") is not None else {}


def _without_control(task: MapNode, kind: str, place: Place) -> MapNode:
    """The task without `loop_control`; what of it means nothing here is noted."""
    control = task.get("loop_control")
    if isinstance(control, MapNode):
        lost = _CONTROL_ASIDE | _LOST.get(kind, frozenset())
        if place.file.states.get(str(control.get("result_key"))) == place.task:
            lost -= {"result_key"}
        place.file.aside.strip(control, lost)
    return task.without(("loop_control",))


def _items(loop: MapNode, place: Place) -> Node:
    """The items of a collection: a list, a template that gives one, or a file; None where it is no such thing."""
    tagged = _tagged(loop.get("collection"), "source")
    read = _SOURCES.get(tagged[0]) if tagged is not None else None
    return None if tagged is None or read is None else read(tagged[1], place)


def _inline(source: MapNode, place: Place) -> Node:
    items = source.get("items")
    return respelled(items, mark_of(source, "items"), place) if isinstance(items, ListNode) else None


def _range(source: MapNode, _place: Place) -> Node:
    bounds = [source.get("start", 0), source.get("end"), source.get("step", 1)]
    if not all(isinstance(bound, int) for bound in bounds):
        return None
    shown = bounds if bounds[2] != 1 else bounds[:2]
    return "{{ range(" + ", ".join(str(bound) for bound in shown) + ") }}"


def _file(source: MapNode, place: Place) -> Node:
    form = _FORMATS.get(str(source.get("format", "json")))
    path = respelled(source.get("path"), mark_of(source, "path"), place)
    return None if form is None or path is None else mapping(source.mark, {"file": path, "format": form})


def _state(source: MapNode, place: Place) -> Node:
    key = source.get("key")
    if not isinstance(key, str):
        return None
    task = place.file.states.get(key)
    if task is None:
        return "{{ input[" + json.dumps(key) + "] }}"
    place.wish(task, mark_of(source, "key"))
    return "{{ tasks." + task + ".output }}"


def _http(source: MapNode, place: Place) -> Node:
    fetch = place.fetches.get(place.task)
    if fetch is None:
        return None
    place.wish(fetch, source.mark)
    return "{{ tasks." + fetch + ".output }}"


_SOURCES: Final[Mapping[str, Callable[[MapNode, Place], Node]]] = {
    "inline": _inline,
    "range": _range,
    "file": _file,
    "state": _state,
    "http": _http,
}
_KINDS: Final[Mapping[str, Callable[[MapNode, MapNode, Place], _Made]]] = {
    "for_each": _for_each,
    "repeat": _repeat,
    "while": _while,
    "repeat_until": _repeat_until,
}
