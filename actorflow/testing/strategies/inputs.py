"""Inputs: what definitions declare, and what runs of a given one take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hypothesis import strategies as st

from actorflow.spec.model import InputSpec, InputType, WorkflowSpec
from actorflow.testing.strategies.drawing import Json, names, values

__all__ = ["draw_declarations", "inputs_for"]

_OF_TYPE: Final[Mapping[InputType, st.SearchStrategy[Any]]] = {
    "integer": st.integers(-1000, 1000),
    "string": st.text(max_size=8),
    "number": st.integers(-1000, 1000) | st.floats(-1e6, 1e6, allow_nan=False, allow_infinity=False),
    "boolean": st.booleans(),
    "array": st.lists(values(), max_size=3),
    "object": st.dictionaries(st.sampled_from(["a", "b", "n"]), values(), max_size=3),
}
_MOST: Final = 3
_ANY_NAME: Final = st.sampled_from(names("i", _MOST))


def draw_declarations(draw: st.DrawFn) -> Json:
    """Draw an `inputs:` block: of none, if it is the simplest, or of a few names of any type."""
    return {name: draw(_declarations()) for name in names("i", draw(st.integers(0, _MOST)))}


@st.composite
def _declarations(draw: st.DrawFn) -> Json:
    kind: InputType = draw(st.sampled_from(tuple(_OF_TYPE)))
    declared: Json = {"type": kind}
    if draw(st.booleans()):
        declared["required"] = draw(st.booleans())
    is_closed = kind in ("integer", "string") and draw(st.booleans())
    choices = draw(st.lists(_OF_TYPE[kind], min_size=1, max_size=3, unique=True)) if is_closed else []
    if is_closed:
        declared["enum"] = choices
    if draw(st.booleans()):
        declared["default"] = draw(st.sampled_from(choices) if choices else _OF_TYPE[kind])
    if draw(st.sampled_from([False, False, True])):
        declared["sensitive"] = True
    return declared


def inputs_for(spec: WorkflowSpec) -> st.SearchStrategy[dict[str, Any]]:
    """Draw inputs that the workflow takes: all that are required, any of the others, each of its type and choices.

    Where it declares none, any names with any JSON data. What a run then sees has the defaults filled in.
    """
    if spec.inputs is None:
        return st.dictionaries(_ANY_NAME, values(), max_size=_MOST)
    given = {name: _value_of(declared) for name, declared in spec.inputs.items()}
    required = {name for name, each in spec.inputs.items() if each.required and not each.has_default}
    return st.fixed_dictionaries(
        {name: given[name] for name in given if name in required},
        optional={name: given[name] for name in given if name not in required},
    )


def _value_of(declared: InputSpec) -> st.SearchStrategy[Any]:
    return st.sampled_from(declared.enum) if declared.enum else _OF_TYPE[declared.type]
