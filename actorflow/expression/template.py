"""Templates: JSON values whose strings may hold expressions, and the text of a `when`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from actorflow.errors import ExpressionError
from actorflow.expression.compiled import Expression, as_error, compile_expression
from actorflow.expression.kinds import is_list, is_mapping, kind
from actorflow.expression.limits import MAX_DATA_DEPTH, MAX_VALUES, Fault, Meter
from actorflow.expression.names import Path
from actorflow.expression.strings import Piece, pieces_of
from actorflow.expression.text import text_of


def compile_template(value: Any) -> Template:
    """Compile a JSON value, whose strings (not its keys) may hold `{{ expression }}`.

    A string that is exactly one expression becomes that expression's value, of whatever type. In any other, values
    are put in as text: strings as they are, null as nothing, the rest as JSON. `$$` is a dollar sign.

    Raises:
        ExpressionError: An expression in it cannot be compiled, or it is no JSON value.
    """
    compiler = _Compiler()
    part = compiler.part(value, 0)
    return Template(tuple(compiler.paths), isinstance(part, _Constant), part)


def condition(source: str) -> Expression:
    """Compile the text of a `when`: a bare expression, or exactly one template.

    Raises:
        ExpressionError: It is neither. Evaluating raises one if the value is no bool.
    """
    if "{{" not in source and "${" not in source:
        expression = compile_expression(source)
    else:
        pieces = [piece for piece in pieces_of(source) if not isinstance(piece, str) or piece.strip()]
        if len(pieces) != 1 or isinstance(pieces[0], str):
            raise ExpressionError(
                "a condition is one expression, bare or wholly in {{ }}: {{ a == b }}, not {{ a }} == {{ b }}",
                source=source,
            )
        expression = pieces[0]
    checked = expression.then(_as_bool)
    if checked.is_constant:
        checked.evaluate({})
    return checked


def _as_bool(_meter: Meter, value: Any) -> bool:
    if value is True or value is False:
        return value
    raise Fault(f"a condition is true or false, and this is {kind(value)}")


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """A compiled value."""

    paths: tuple[Path, ...]  #: what its expressions read; each once, in order of appearance
    is_constant: bool  #: there is no expression in it: `render` returns the same object each time
    _part: _Part = field(repr=False)

    def render(self, context: Mapping[str, Any]) -> Any:
        """Compute the value; what is in it is never rendered again, and may be shared with template and context.

        Args:
            context: As of `Expression.evaluate`.

        Raises:
            ExpressionError: An expression fails, or the text put together exceeds 1 MiB. One budget of work is
                shared by all expressions of the template.
        """
        if isinstance(self._part, _Constant):
            return self._part.value
        return self._part(context, Meter())


@dataclass(frozen=True, slots=True)
class _Constant:
    value: Any


_Render: TypeAlias = Callable[[Mapping[str, Any], Meter], Any]
_Part: TypeAlias = _Constant | _Render


class _Compiler:
    """Walks one value; its depth is bounded, so it may recurse."""

    def __init__(self) -> None:
        self.paths: dict[Path, None] = {}
        self._strings: dict[str, _Part] = {}
        self._values = 0

    def part(self, value: Any, depth: int) -> _Part:
        self._values += 1
        if depth > MAX_DATA_DEPTH or self._values > MAX_VALUES:
            raise ExpressionError(
                f"the value is nested deeper than {MAX_DATA_DEPTH} levels, or holds over {MAX_VALUES:,} values"
            )
        if isinstance(value, str):
            if value not in self._strings:
                self._strings[value] = self._string(value)
            return self._strings[value]
        if value is None or isinstance(value, bool | int | float):
            return _Constant(value)
        if is_mapping(value):
            return self._mapping(value, depth)
        if is_list(value):
            return self._list(value, depth)
        raise ExpressionError(f"{kind(value)} cannot stand in a template")

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> _Part:
        if not all(isinstance(key, str) for key in value):
            raise ExpressionError("a mapping in a template has strings for keys")
        parts = [(key, self.part(item, depth + 1)) for key, item in value.items()]
        constants = {key: part.value for key, part in parts if isinstance(part, _Constant)}
        if len(constants) == len(parts):
            is_same = all(value[key] is item for key, item in constants.items())
            return _Constant(value if is_same else constants)
        renders = [(key, _render_of(part)) for key, part in parts]
        return lambda context, meter: {key: render(context, meter) for key, render in renders}

    def _list(self, value: list[Any], depth: int) -> _Part:
        parts = [self.part(item, depth + 1) for item in value]
        constants = [part.value for part in parts if isinstance(part, _Constant)]
        if len(constants) == len(parts):
            is_same = all(item is own for item, own in zip(constants, value, strict=True))
            return _Constant(value if is_same else constants)
        renders = [_render_of(part) for part in parts]
        return lambda context, meter: [render(context, meter) for render in renders]

    def _string(self, value: str) -> _Part:
        pieces = pieces_of(value)
        for piece in pieces:
            if isinstance(piece, Expression):
                self.paths.update(dict.fromkeys(piece.paths))
        match pieces:
            case ():
                return _Constant(value)
            case (str() as text,):
                return _Constant(text)
            case (Expression() as expression,):
                return expression.evaluate_within
            case _:
                return _text_of_pieces(value, pieces)


def _render_of(part: _Part) -> _Render:
    if isinstance(part, _Constant):
        value = part.value
        return lambda _context, _meter: value
    return part


def _text_of_pieces(source: str, pieces: tuple[Piece, ...]) -> _Render:
    parts = [piece if isinstance(piece, str) else piece.then(_as_text).evaluate_within for piece in pieces]
    literal_length = sum(len(piece) for piece in pieces if isinstance(piece, str))

    def render(context: Mapping[str, Any], meter: Meter) -> str:
        try:
            meter.render_text(literal_length)
        except Fault as fault:
            raise as_error(fault, source, 1) from None
        return "".join([part if isinstance(part, str) else part(context, meter) for part in parts])

    return render


def _as_text(meter: Meter, value: Any) -> str:
    text = text_of(meter, value)
    meter.render_text(len(text))
    return text
