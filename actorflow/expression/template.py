"""Templates: JSON values whose strings may hold expressions, and the text of a `when`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast

from actorflow.errors import ExpressionError
from actorflow.expression.compiled import Expression, as_error, compile_expression
from actorflow.expression.kinds import is_list, is_mapping, kind
from actorflow.expression.limits import CHEAP_STEPS, MAX_DATA_DEPTH, MAX_STEPS, MAX_VALUES, Fault, Meter
from actorflow.expression.names import Path
from actorflow.expression.sealed import Sealed, SecretName, sealed_or_text
from actorflow.expression.strings import Piece, pieces_of
from actorflow.expression.text import text_of


def compile_template(value: Any, *, secrets: bool = False) -> Template:
    """Compile a JSON value, whose strings (not its keys) may hold `{{ expression }}`.

    A string that is exactly one expression becomes that expression's value, of whatever type. In any other, values
    are put in as text: strings as they are, null as nothing, the rest as JSON. `$$` is a dollar sign.

    Args:
        value: What the definition holds; it is not changed, and kept by the template as far as it is constant.
        secrets: Whether strings may hold `${NAME}` in capitals and `{{ secrets.NAME }}`, as the params of agents and
            hooks may. Such a string is rendered as a `Sealed`.

    Raises:
        ExpressionError: An expression in it cannot be compiled, or it is no JSON value, or names a secret where
            that is not legal.
    """
    compiler = _Compiler(secrets)
    part = compiler.part(value, 0)
    if compiler.cost > MAX_STEPS:
        raise ExpressionError(
            f"too much work: the expressions of this value take more than {MAX_STEPS:,} steps by themselves"
        )
    return Template(
        paths=tuple(compiler.paths),
        secret_names=tuple(compiler.secret_names),
        is_constant=isinstance(part, _Constant),
        _part=part,
        _steps=MAX_STEPS - compiler.cost,
    )


def condition(source: str) -> Expression:
    """Compile the text of a `when`: a bare expression, or exactly one template.

    Raises:
        ExpressionError: It is neither. Evaluating raises one if the value is no bool.
    """
    if "{{" not in source and "${" not in source:
        expression = compile_expression(source)
    else:
        pieces = [piece for piece in pieces_of(source) if not isinstance(piece, str) or piece.strip()]
        if len(pieces) != 1 or not isinstance(pieces[0], Expression):
            raise ExpressionError(
                "a condition is one expression, bare or wholly in {{ }}: {{ a == b }}, not {{ a }} == {{ b }}",
                source=source,
            )
        expression = pieces[0]
    checked = expression.then(_as_bool)
    checked.try_out()
    return checked


def _as_bool(_meter: Meter, value: Any) -> bool:
    if value is True or value is False:
        return value
    raise Fault(f"a condition is true or false, and this is {kind(value)}")


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """A compiled value."""

    paths: tuple[Path, ...]  #: what its expressions read; each once, in order of appearance
    secret_names: tuple[SecretName, ...]  #: the placeholders in it; each once, in order of appearance
    is_constant: bool  #: there is no expression in it: `render` returns the same object each time
    _part: _Part = field(repr=False)
    _steps: int = field(repr=False)  #: what is left for work on data

    def render(self, context: Mapping[str, Any]) -> Any:
        """Compute the value; what is in it is never rendered again, and may be shared with template and context.

        A string that names secrets comes out as a `Sealed`; `unseal` puts the values in.

        Args:
            context: As of `Expression.evaluate`.

        Raises:
            ExpressionError: An expression fails, or the text put together exceeds 1 MiB. One budget of work is
                shared by all expressions of the template.
        """
        if isinstance(self._part, _Constant):
            return self._part.value
        return self._part(context, Meter(self._steps))

    def render_cheaply(self) -> Any:
        """Compute the value of a template that reads nothing, if that is little work: what loading a file may spend.

        Raises:
            ExpressionError: An expression fails, or takes more work.
        """
        if isinstance(self._part, _Constant):
            return self._part.value
        return self._part({}, Meter(min(self._steps, CHEAP_STEPS)))


def unseal(value: Any, lookup: Callable[[SecretName], str]) -> Any:
    """A copy of a rendered value in which every `Sealed` is resolved; the keys of mappings stay as they are.

    Lists and mappings come out as `list` and `dict`, at any depth; what the value shares, its copy shares.

    Raises:
        Exception: Whatever `lookup` raises.
    """
    whole = [value]
    pending: list[list[Any] | dict[str, Any]] = [whole]
    copies: dict[int, list[Any] | dict[str, Any]] = {}
    while pending:
        holder: Any = pending.pop()
        entries: Iterable[tuple[Any, Any]] = enumerate(holder) if is_list(holder) else holder.items()
        for key, item in entries:
            if isinstance(item, Sealed):
                holder[key] = item.resolve(lookup)
            elif is_list(item) or is_mapping(item):
                if id(item) not in copies:
                    copies[id(item)] = dict(item) if is_mapping(item) else list(item)
                    pending.append(copies[id(item)])
                holder[key] = copies[id(item)]
    return whole[0]


@dataclass(frozen=True, slots=True)
class _Constant:
    value: Any


_Render: TypeAlias = Callable[[Mapping[str, Any], Meter], Any]
_Part: TypeAlias = _Constant | _Render
_Holder: TypeAlias = dict[Any, Any] | list[Any]
_LITERAL: Final = frozenset({int, float, bool, type(None)})


class _Compiler:
    """Walks one value; its depth is bounded, so it may recurse."""

    def __init__(self, secrets: bool) -> None:
        self.paths: dict[Path, None] = {}
        self.secret_names: dict[SecretName, None] = {}
        self.cost = 0  #: steps of all expressions and placeholders, wherever a string is repeated
        self._may_name_secrets = secrets
        self._strings: dict[str, tuple[_Part, int]] = {}
        self._values = 1

    def part(self, value: Any, depth: int) -> _Part:
        if _is_literal(value):
            return _Constant(value)
        if isinstance(value, str):
            if value not in self._strings:
                self._strings[value] = self._string(value)
            part, cost = self._strings[value]
            self.cost += cost
            return part
        if is_mapping(value):
            if not all(isinstance(key, str) for key in value):
                raise ExpressionError("a mapping in a template has strings for keys")
            return self._whole(value, dict.fromkeys(value), value.items(), depth)
        if is_list(value):
            return self._whole(value, [None] * len(value), enumerate(value), depth)
        if isinstance(value, int | float):  # of a class of its own
            return _Constant(value)
        raise ExpressionError(f"{kind(value)} cannot stand in a template")

    def _whole(self, value: Any, made: _Holder, entries: Iterable[tuple[Any, Any]], depth: int) -> _Part:
        """The part of a list or mapping; `made` has its places, and is filled with what is constant."""
        self._values += len(made)
        if (made and depth >= MAX_DATA_DEPTH) or self._values > MAX_VALUES:
            raise ExpressionError(
                f"the value is nested deeper than {MAX_DATA_DEPTH} levels, or holds over {MAX_VALUES:,} values"
            )
        renders: list[tuple[Any, _Render]] = []
        is_same = True
        for place, item in entries:
            if _is_literal(item):
                made[place] = item
                continue
            part = self.part(item, depth + 1)
            if isinstance(part, _Constant):
                made[place] = part.value
                is_same = is_same and part.value is item
            else:
                renders.append((place, part))
        if renders:
            return _filled(made, renders)
        return _Constant(value if is_same else made)

    def _string(self, value: str) -> tuple[_Part, int]:
        pieces = pieces_of(value, secrets=self._may_name_secrets)
        cost = 0
        for piece in pieces:
            if isinstance(piece, Expression):
                self.paths.update(dict.fromkeys(piece.paths))
                cost += piece.cost
            elif isinstance(piece, SecretName):
                self.secret_names.setdefault(piece)
                cost += 1
        return _part_of_pieces(value, pieces), cost


def _part_of_pieces(value: str, pieces: tuple[Piece, ...]) -> _Part:
    match pieces:
        case ():
            return _Constant(value)
        case (str() as text,):
            return _Constant(text)
        case (Expression() as expression,):
            return expression.evaluate_within
        case _:
            return _text_of_pieces(value, pieces)


def _is_literal(value: Any) -> bool:
    """Whether a value is a scalar without templates, as most are."""
    return type(value) in _LITERAL or (type(value) is str and "$" not in value and "{{" not in value)


def _filled(whole: _Holder, renders: Sequence[tuple[Any, _Render]]) -> _Render:
    """Copies the whole, and puts what is rendered in its places: what is constant costs nothing more."""

    def render(context: Mapping[str, Any], meter: Meter) -> Any:
        copy: Any = whole.copy()
        for place, part in renders:
            copy[place] = part(context, meter)
        return copy

    return render


def _text_of_pieces(source: str, pieces: tuple[Piece, ...]) -> _Part:
    if not any(isinstance(piece, Expression) for piece in pieces):
        return _Constant(sealed_or_text(cast("tuple[str | SecretName, ...]", pieces)))
    parts = [
        piece.then(_as_text).evaluate_within if isinstance(piece, Expression) else piece for piece in pieces
    ]
    literal_length = sum(len(piece) for piece in pieces if isinstance(piece, str))
    is_sealed = any(isinstance(piece, SecretName) for piece in pieces)

    def render(context: Mapping[str, Any], meter: Meter) -> str | Sealed:
        try:
            meter.render_text(literal_length)
        except Fault as fault:
            raise as_error(fault, source, 1) from None
        texts = [part if isinstance(part, _FIXED) else part(context, meter) for part in parts]
        return sealed_or_text(texts) if is_sealed else "".join(cast("list[str]", texts))

    return render


_FIXED = (str, SecretName)


def _as_text(meter: Meter, value: Any) -> str:
    text = text_of(meter, value)
    meter.render_text(len(text))
    return text
