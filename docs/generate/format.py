"""The reference of workflow files, from the JSON Schema that editors get."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, TypeAlias

from attrs import fields
from sphinx.pycode import ModuleAnalyzer

from actorflow.spec import surface
from actorflow.spec.bounds import Bounds
from actorflow.spec.surface import agents, document, hooks, keys_of, recovery, tasks, types_of
from actorflow.spec.surface.schema import workflow_schema
from docs.generate.markdown import anchor, code, codes, page, prose, table

Schema: TypeAlias = Mapping[str, Any]

_INTRODUCTION: Final = (
    "Every key of a workflow file. [The workflow file](../format.md) explains them with examples; `actorflow schema` prints "
    "the JSON Schema that this page is made from. A key that may be left out has its default beside it, if one is there. "
    "Keys of another tool's grammar are in [a page of their own](../second-grammar.md)."
)
_FORMS: Final = "What several keys have in common."
_BOUNDS: Final = (
    "What a file may cost whoever loads it. One that goes beyond is refused (E103, E115, E116, E128)."
)
_DEFAULT: Final = re.compile(r"(?:^|; )([^;]+?) if not given\.?")
_FIRST: Final = ("WorkflowFile", "Task", "Agent", "Hook", "OnError")
_NOUN: Final = {
    "string": "text",
    "boolean": "boolean",
    "integer": "integer",
    "number": "number",
    "null": "nothing",
    "array": "list",
    "object": "mapping",
}


def format_page() -> str:
    """Kinds of mappings, most used first; forms of values; bounds."""
    definitions: Mapping[str, Schema] = workflow_schema()["$defs"]
    mappings = [name for name, each in definitions.items() if "properties" in each]
    names = [*_FIRST, *(name for name in mappings if name not in _FIRST)]
    forms = ([code(name), words(each)] for name, each in definitions.items() if "properties" not in each)
    return page(
        "Keys",
        _INTRODUCTION,
        *(_section(name, definitions) for name in names),
        "## Forms of values",
        _FORMS,
        table(["form", "what it is"], forms),
        "## Bounds",
        _BOUNDS,
        table(["bound", "value", "of"], _bounds()),
    )


def _section(name: str, definitions: Mapping[str, Schema]) -> str:
    schema, kind = definitions[name], _kinds()[name]
    known = keys_of(kind)
    rows = [
        _row(key, each, key in schema.get("required", ()), types_of(known[key]))
        for key, each in schema["properties"].items()
        if key in known
    ]
    text = " ".join([prose(schema["description"]), *_choices(kind)])
    return "\n\n".join([f"## {_title(name)}", text, table(["key", "value", "default", "meaning"], rows)])


def _kinds() -> Mapping[str, type[Any]]:
    modules = (surface, agents, document, hooks, recovery, tasks)
    return {name: kind for module in modules for name, kind in vars(module).items() if isinstance(kind, type)}


def _title(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower().capitalize()


def _row(key: str, schema: Schema, is_required: bool, types: tuple[str, ...]) -> list[str]:
    text = schema["description"]
    found = _DEFAULT.search(text)
    default = "" if found is None else (prose(found[1]) if " " in found[1] else code(found[1]))
    meaning = text if found is None else text.replace(found[0], "." if found[0][0] == ";" else "", 1).strip()
    only = f" Only of {codes(types)}." if types else ""
    value = words({each: schema[each] for each in schema if each != "description"})
    return [code(key), value, "required" if is_required else default, f"{prose(meaning)}{only}".strip()]


def _choices(kind: type[Any]) -> Iterator[str]:
    for name, says in (
        ("ONE_OF", "It has exactly one of {}."),
        ("AT_MOST_ONE", "It has at most one of {}."),
        ("AT_LEAST_ONE", "It has at least one of {}."),
    ):
        if hasattr(kind, name):
            yield says.format(codes(getattr(kind, name)))
    apart = defaultdict[str, list[str]](list)
    for key, *others in getattr(kind, "APART", ()):
        apart[key] += others
    for key, others in apart.items():
        yield f"{code(key)} is not together with {codes(others)}."
    for key, others in getattr(kind, "BRINGS", {}).items():
        yield f"{code(key)} comes with {codes(others)}."


def words(schema: Schema) -> str:
    """What a value may be, in words."""
    if "$ref" in schema:
        return _link(schema["$ref"].rpartition("/")[2])
    if "enum" in schema:
        return codes(map(str, schema["enum"]))
    if "description" in schema:
        return prose(schema["description"])
    if "anyOf" in schema and "type" not in schema:
        return _one_of(dict.fromkeys(map(words, schema["anyOf"])))
    return _plain(schema)


def _link(name: str) -> str:
    """To where a definition is: mappings, which have a class, each under a heading, forms in their table."""
    title = _title(name)
    return f"[{name}](#forms-of-values)" if name[0].islower() else f"[{title.lower()}](#{anchor(title)})"


def _one_of(ways: Collection[str]) -> str:
    return ("; or " if any(", " in way for way in ways) else " or ").join(ways)


def _inside(schema: Schema) -> str:
    """What is in a list or mapping, so that it is plain where it ends."""
    each = words(schema)
    return f"({each})" if " or " in each else each


def _plain(schema: Schema) -> str:
    kind = schema.get("type")
    if kind is None:
        return prose(schema.get("title", "any value"))
    if "title" in schema:
        return prose(schema["title"])
    if kind == "array":
        return f"list of {_inside(schema['items'])}" if "items" in schema else "list"
    if kind == "object":
        return f"mapping of {_inside(schema['additionalProperties'])}"
    kinds = [kind] if isinstance(kind, str) else kind
    return " or ".join(_NOUN[each] for each in kinds) + _range(schema)


def _range(schema: Schema) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is None:
        above = schema.get("exclusiveMinimum")
        return "" if above is None else f", more than {above}"
    return f" from {least} to {most:,}" if most is not None else f", {least} or more"


def _bounds() -> Iterator[list[str]]:
    said = ModuleAnalyzer.for_module(Bounds.__module__).find_attr_docs()
    for bound in fields(Bounds):
        text = " ".join(said.get(("Bounds", bound.name), [])).strip()
        yield [code(bound.name), f"{bound.default:,}", prose(text)]
