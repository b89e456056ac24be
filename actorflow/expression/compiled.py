"""Compiled expressions, cached by their text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from actorflow.errors import ExpressionError
from actorflow.expression.limits import CHEAP_STEPS, Fault, Meter, Run, Scope, TooMuchWork
from actorflow.expression.names import SECRETS_PLACE, Path
from actorflow.expression.parser import parse

_NO_SECRETS = (
    "a secret can only be inserted as it is: {{ secrets.NAME }} with nothing else in the braces, and only in "
    + SECRETS_PLACE
)
_NODES_PER_STEP = 4
_CACHED = 2_048  # expressions; a workflow of a thousand tasks has about as many


def compile_expression(source: str) -> Expression:
    """Compile a bare expression, such as `input.count + 1`.

    Compiling takes about 50 µs, once for each text. An expression that reads nothing is tried out, so that `1/0` is
    found when a workflow is loaded and not when it runs.

    Raises:
        ExpressionError: It is no expression, is larger than the limits allow, or fails whatever the context is.
    """
    return compile_part(source, 0, len(source))


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A compiled expression. It is pure: of equal contexts it always makes equal values."""

    source: str  #: its own text, without the braces of a template
    paths: tuple[
        Path, ...
    ]  #: what it reads, as far as the keys are written out; each once, in order of appearance
    is_constant: bool  #: it reads neither the context nor the clock
    cost: int  #: steps that it takes before it looks at any data; whoever evaluates very many of them pays
    _text: str = field(repr=False)  #: the string it was found in, in which columns are counted
    _column: int = field(repr=False)  #: where it begins in that string, from 1
    _run: Run = field(repr=False)

    def evaluate(self, context: Mapping[str, Any]) -> Any:
        """Compute the value; what it takes from the context is the context's own object, not a copy.

        Args:
            context: Plain JSON data by root name, and the run's clock in epoch seconds as `now`.

        Raises:
            ExpressionError: A name or key is missing, a type is wrong, or a limit would be passed. The message names
                types and keys, never values, which may be secrets.
        """
        try:
            return self._run(context, Meter())
        except Fault as fault:
            raise as_error(fault, self._text, self._column) from None

    def evaluate_within(self, context: Mapping[str, Any], meter: Meter) -> Any:
        """Compute the value as part of a larger whole, which pays for it."""
        try:
            return self._run(context, meter)
        except Fault as fault:
            raise as_error(fault, self._text, self._column) from None

    def try_out(self) -> None:
        """Evaluate an expression that reads nothing, if that is cheap: what fails now fails always.

        Raises:
            ExpressionError: It fails.
        """
        if not self.is_constant:
            return
        try:
            self._run({}, Meter(CHEAP_STEPS))
        except TooMuchWork:
            pass
        except Fault as fault:
            raise as_error(fault, self._text, self._column) from None

    def then(self, finish: Callable[[Meter, Any], Any]) -> Expression:
        """The same expression, its value passed on through a function that may raise a `Fault`."""
        run = self._run

        def run_and_finish(scope: Scope, meter: Meter) -> Any:
            return finish(meter, run(scope, meter))

        return replace(self, _run=run_and_finish)


@lru_cache(maxsize=_CACHED)
def compile_part(text: str, start: int, stop: int, *, is_dollar: bool = False) -> Expression:
    """Compile the expression at this place of a string, in which its columns are counted.

    Raises:
        ExpressionError: As of `compile_expression`.
    """
    column = stop - len(text[start:stop].lstrip()) + 1
    try:
        parsed = parse(text, start, stop, is_dollar=is_dollar)
        if parsed.secrets_column:
            raise Fault(_NO_SECRETS, parsed.secrets_column)
    except Fault as fault:
        raise as_error(fault, text, column) from None
    expression = Expression(
        source=text[start:stop].strip(),
        paths=parsed.paths,
        is_constant=not parsed.paths and not parsed.reads_clock,
        cost=1 + parsed.nodes // _NODES_PER_STEP,
        _text=text,
        _column=column,
        _run=parsed.run,
    )
    expression.try_out()
    return expression


def as_error(fault: Fault, text: str, column: int) -> ExpressionError:
    """The error that callers see; `column` is for a fault that happened at no place in particular."""
    return ExpressionError(fault.describe(), source=text, column=fault.column or column)
