"""The compiled forms of the grammar: each is a closure over those of its parts.

A chain of operators of one level is one node that goes through its operands in a loop, so that the depth of the calls
is that of the brackets and never the length of the text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from actorflow.expression.kinds import kind
from actorflow.expression.limits import Fault, Meter, Run, Scope
from actorflow.expression.lookups import Missing
from actorflow.expression.operators import Operation


class Step(NamedTuple):
    """One operator of a chain and the operand on its right."""

    operation: Operation
    operand: Run
    column: int  #: of the operator


def literal(value: Any) -> Run:
    """A constant that cannot be changed: null, a bool, a number or a string."""
    return lambda _scope, _meter: value


def list_literal(items: tuple[Run, ...]) -> Run:
    """`[ ]`: a fresh list each time, which costs: a template may ask for it very often."""
    length = len(items)

    def run(scope: Scope, meter: Meter) -> Any:
        meter.spend(length)
        return [item(scope, meter) for item in items]

    return run


def dict_literal(keys: tuple[str, ...], values: tuple[Run, ...]) -> Run:
    """`{ }`: a fresh mapping each time; of two equal keys the later one counts."""
    length = len(keys)

    def run(scope: Scope, meter: Meter) -> Any:
        meter.spend(length)
        return {key: value(scope, meter) for key, value in zip(keys, values, strict=True)}

    return run


def chain(first: Run, steps: tuple[Step, ...]) -> Run:
    """Operators of one level, from left to right."""
    if len(steps) == 1:
        return _binary(first, *steps[0])

    def run(scope: Scope, meter: Meter) -> Any:
        value = first(scope, meter)
        for operation, operand, column in steps:
            right = operand(scope, meter)
            try:
                value = operation(meter, value, right)
            except Fault as fault:
                fault.place(column)
                raise
        return value

    return run


def _binary(first: Run, operation: Operation, second: Run, column: int) -> Run:
    def run(scope: Scope, meter: Meter) -> Any:
        left, right = first(scope, meter), second(scope, meter)
        try:
            return operation(meter, left, right)
        except Fault as fault:
            fault.place(column)
            raise

    return run


def junction(word: str, operands: tuple[Run, ...], columns: tuple[int, ...]) -> Run:
    """`and`, `or`: bools from left to right, as far as the answer is open; what is not reached is not looked at."""
    decisive = word == "or"
    pairs = tuple(zip(operands, columns, strict=True))

    def run(scope: Scope, meter: Meter) -> Any:
        for operand, column in pairs:
            value = operand(scope, meter)
            if value is decisive:
                return decisive
            if value is (not decisive):
                continue
            raise Fault(f"`{word}` takes bools, not {kind(value)}", column)
        return not decisive

    return run


def conditional(then: Run, condition: Run, otherwise: Run, column: int) -> Run:
    """`then if condition else otherwise`; only the one that is chosen is evaluated."""

    def run(scope: Scope, meter: Meter) -> Any:
        chosen = condition(scope, meter)
        if chosen is True:
            return then(scope, meter)
        if chosen is False:
            return otherwise(scope, meter)
        raise Fault(f"`if` takes a bool, not {kind(chosen)}", column)

    return run


def call(function: Callable[..., Any], arguments: tuple[Run, ...], column: int) -> Run:
    """A function, a filter or an operator with one operand: its arguments first, from left to right, then itself."""

    def run(scope: Scope, meter: Meter) -> Any:
        values = [argument(scope, meter) for argument in arguments]
        try:
            return function(meter, *values)
        except Fault as fault:
            fault.place(column)
            raise

    return run


def default(value: Run, otherwise: Run) -> Run:
    """The filter `default(x)`: `x` where the left side is null, or something that it reads is missing."""

    def run(scope: Scope, meter: Meter) -> Any:
        try:
            found = value(scope, meter)
        except Missing:
            found = None
        return otherwise(scope, meter) if found is None else found

    return run


def clock(column: int) -> Run:
    """`now()`: the time of the run, in epoch seconds, which a replay sees again."""

    def run(scope: Scope, _meter: Meter) -> Any:
        try:
            return scope["now"]
        except KeyError:
            raise Fault("there is no now() here: it is known to a run only", column) from None

    return run
