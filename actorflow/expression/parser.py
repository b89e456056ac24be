"""The grammar: a Pratt parser that goes from tokens straight to closures.

From what binds loosest to what binds tightest:

    x if c else y · or · and · not · == != < <= > >= in, not in · ~ · + - · * / // % · -x +x · .key [item] | filter

Comparisons do not chain. Depth is counted as the parser goes down, and the height of what it builds as it comes back,
so neither brackets nor operators in any number can exhaust the interpreter's stack, now or in an evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from actorflow.expression import nodes, operators
from actorflow.expression.functions import FILTERS, FUNCTIONS, Function
from actorflow.expression.kinds import is_number
from actorflow.expression.limits import MAX_DEPTH, MAX_NODES, Fault, Run
from actorflow.expression.lookups import item_lookup, path_lookup
from actorflow.expression.names import Path, canonical, did_you_mean, shown
from actorflow.expression.operators import DIVISION_BY_ZERO, Operation
from actorflow.expression.tokens import Token, tokens_of


class Parsed(NamedTuple):
    """A compiled expression and what it reads."""

    run: Run
    paths: tuple[Path, ...]  #: each once, in order of appearance
    reads_clock: bool
    secrets_column: int  #: where `secrets` is read first; 0 if it is not
    nodes: int


def parse(text: str, start: int, stop: int, *, is_dollar: bool) -> Parsed:
    """Compile the expression at this place of a string; `is_dollar` reads `workflow.x` as `${workflow.x}` is read.

    Raises:
        Fault: It is no expression, or a larger or deeper one than is allowed.
    """
    parser = _Parser(tokens_of(text, start, stop), is_dollar=is_dollar)
    node = parser.expression()
    parser.expect_end()
    return Parsed(node.run, tuple(parser.paths), parser.reads_clock, parser.secrets_column, parser.nodes)


class _Node(NamedTuple):
    run: Run
    height: int
    where: str = ""  #: the path, if this is the look-up of one


_LOWEST, _CONDITION, _OR, _AND, _NOT, _COMPARISON, _TEXT, _SUM, _PRODUCT, _SIGN = range(10)

_LEVELS: Mapping[str, int] = {
    "or": _OR,
    "and": _AND,
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in", "not in"), _COMPARISON),
    "~": _TEXT,
    **dict.fromkeys(("+", "-"), _SUM),
    **dict.fromkeys(("*", "/", "//", "%"), _PRODUCT),
}

_OPERATIONS: Mapping[str, Operation] = {
    "==": operators.equal,
    "!=": operators.unequal,
    "<": operators.less,
    "<=": operators.less_or_equal,
    ">": operators.greater,
    ">=": operators.greater_or_equal,
    "in": operators.contained,
    "not in": operators.not_contained,
    "~": operators.concatenate,
    "+": operators.add,
    "-": operators.subtract,
    "*": operators.multiply,
    "/": operators.divide,
    "//": operators.floor_divide,
    "%": operators.remainder,
}

_SUFFIXES = frozenset({"[", "|", "("})
_DIVISIONS = frozenset({"/", "//", "%"})

_PREFIXES = {
    "not": (operators.inverse, _NOT),
    "-": (operators.negative, _SIGN),
    "+": (operators.positive, _SIGN),
}


class _Parser:
    def __init__(self, tokens: list[Token], *, is_dollar: bool) -> None:
        self.paths: dict[Path, None] = {}
        self.reads_clock = False
        self.secrets_column = 0
        self._tokens = tokens
        self._place = 0
        self._token = tokens[0]
        self._is_dollar = is_dollar
        self._depth = 0
        self.nodes = 0

    def expression(self, level: int = _LOWEST) -> _Node:
        """Read as far as operators bind tighter than `level`."""
        self._depth += 1
        self._check_depth(self._depth)
        node = self._operand()
        while self._token.kind == "operator" and (found := _LEVELS.get(self._token.text, _LOWEST)) > level:
            node = self._junction(node, found) if found <= _AND else self._chain(node, found)
        if level == _LOWEST and self._is_at("if"):
            node = self._conditional(node)
        self._depth -= 1
        return node

    def expect_end(self) -> None:
        """Refuse whatever follows a whole expression."""
        if self._token.kind != "end":
            raise self._unexpected("an operator or the end")

    # What an expression is made of.

    def _chain(self, first: _Node, level: int) -> _Node:
        operands, steps = [first], list[nodes.Step]()
        while self._token.kind == "operator" and _LEVELS.get(self._token.text) == level:
            operator, place = self._advance(), self._place
            if steps and level == _COMPARISON:
                raise Fault("comparisons do not chain; write a < b and b < c", operator.column)
            operands.append(self.expression(level))
            if operator.text in _DIVISIONS and self._is_zero_since(place):
                raise Fault(DIVISION_BY_ZERO, operator.column)
            steps.append(nodes.Step(_OPERATIONS[operator.text], operands[-1].run, operator.column))
        return self._node(nodes.chain(first.run, tuple(steps)), *operands, weight=len(steps))

    def _is_zero_since(self, place: int) -> bool:
        """Whether the literal 0, and nothing else, has been read from here on."""
        value = self._tokens[place].value
        return self._place == place + 1 and is_number(value) and value == 0

    def _junction(self, first: _Node, level: int) -> _Node:
        operands, columns = [first], [self._token.column]
        word = self._token.text
        while self._is_at(word):
            columns.append(self._advance().column)
            operands.append(self.expression(level))
        runs = tuple(operand.run for operand in operands)
        return self._node(nodes.junction(word, runs, tuple(columns)), *operands, weight=len(runs) - 1)

    def _conditional(self, then: _Node) -> _Node:
        column = self._advance().column
        condition = self.expression(_CONDITION)
        if not self._is_at("else"):
            raise Fault("an `if` needs its `else`: x if c else y", self._token.column)
        self._advance()
        otherwise = self.expression()
        run = nodes.conditional(then.run, condition.run, otherwise.run, column)
        return self._node(run, then, condition, otherwise)

    def _operand(self) -> _Node:
        token = self._token
        if token.kind == "literal":
            self._advance()
            node = self._node(nodes.literal(token.value))
        elif token.kind == "name":
            self._advance()
            node = self._named(token)
        elif token.kind == "operator" and token.text in _PREFIXES:
            return self._prefix(self._advance())
        else:
            node = self._bracketed()
        return self._with_suffixes(node)

    def _prefix(self, operator: Token) -> _Node:
        compute, level = _PREFIXES[operator.text]
        operand = self.expression(level)
        return self._node(nodes.call(compute, (operand.run,), operator.column), operand)

    def _bracketed(self) -> _Node:
        if self._is_at("("):
            self._advance()
            node = self.expression()
            self._expect(")")
            return node
        if self._is_at("["):
            self._advance()
            items = self._sequence("]")
            return self._node(nodes.list_literal(tuple(item.run for item in items)), *items)
        if self._is_at("{"):
            self._advance()
            return self._dict()
        raise self._unexpected("a value")

    def _dict(self) -> _Node:
        keys: list[str] = []
        values: list[_Node] = []
        while not self._is_at("}"):
            if not isinstance(self._token.value, str):
                raise self._unexpected("a key in quotes")
            keys.append(self._advance().value)
            self._expect(":")
            values.append(self.expression())
            if not self._is_at("}"):
                self._expect(",")
        self._advance()
        return self._node(nodes.dict_literal(tuple(keys), tuple(value.run for value in values)), *values)

    def _sequence(self, closing: str) -> list[_Node]:
        items: list[_Node] = []
        while not self._is_at(closing):
            items.append(self.expression())
            if not self._is_at(closing):
                self._expect(",")
        self._advance()
        return items

    # Names, and what may follow a value.

    def _named(self, name: Token) -> _Node:
        if name.text == "now":
            return self._clock(name)
        return self._call(name) if self._is_at("(") else self._lookup(name)

    def _clock(self, name: Token) -> _Node:
        """`now`, with or without the brackets of a call."""
        if self._is_at("("):
            self._advance()
            _check_count(name, len(self._sequence(")")), 0, 0)
        self.reads_clock = True
        return self._node(nodes.clock(name.column))

    def _lookup(self, name: Token) -> _Node:
        """The longest path from here whose keys are all written out."""
        keys = [name]
        while True:
            if self._token.kind == "member":
                keys.append(self._advance())
            elif self._is_at_quoted_key():
                self._advance()
                keys.append(self._advance())
                self._expect("]")
            else:
                break
        path = canonical(
            tuple(key.value if key.kind == "literal" else key.text for key in keys), is_dollar=self._is_dollar
        )
        self.paths.setdefault(path)
        if path[0] == "secrets":
            self.secrets_column = self.secrets_column or name.column
        run = path_lookup(path, tuple(key.column for key in keys))
        return self._node(run, where=".".join(path))

    def _is_at_quoted_key(self) -> bool:
        if not self._is_at("["):
            return False
        key = self._tokens[self._place + 1]
        return isinstance(key.value, str) and self._tokens[self._place + 2].text == "]"

    def _with_suffixes(self, node: _Node) -> _Node:
        while True:
            token = self._token
            if token.kind == "member":
                self._advance()
                run = item_lookup(node.run, node.where, nodes.literal(token.text), token.column)
                node = self._node(run, node)
            elif token.text not in _SUFFIXES or token.kind != "operator":
                return node
            elif token.text == "[":
                self._advance()
                key = self.expression()
                self._expect("]")
                node = self._node(item_lookup(node.run, node.where, key.run, token.column), node, key)
            elif token.text == "|":
                self._advance()
                node = self._filter(node)
            else:
                raise Fault("there are no methods; a filter is written as in x | upper", token.column)

    def _filter(self, value: _Node) -> _Node:
        name = self._token
        if name.kind != "name":
            raise self._unexpected("the name of a filter")
        self._advance()
        arguments: list[_Node] = []
        if self._is_at("("):
            self._advance()
            arguments = self._sequence(")")
        if name.text == "default":
            _check_count(name, len(arguments), 1, 1)
            return self._node(nodes.default(value.run, arguments[0].run), value, *arguments)
        function = _known(name, FILTERS, "filter")
        _check_count(name, len(arguments), function.least, function.most)
        runs = (value.run, *(argument.run for argument in arguments))
        return self._node(nodes.call(function.compute, runs, name.column), value, *arguments)

    def _call(self, name: Token) -> _Node:
        self._advance()
        arguments = self._sequence(")")
        function = _known(name, FUNCTIONS, "function")
        _check_count(name, len(arguments), function.least, function.most)
        runs = tuple(argument.run for argument in arguments)
        return self._node(nodes.call(function.compute, runs, name.column), *arguments)

    # Tokens, and the two bounds.

    def _is_at(self, text: str) -> bool:
        return self._token.text == text and self._token.kind == "operator"

    def _advance(self) -> Token:
        token = self._token
        self._place += 1
        self._token = self._tokens[self._place]
        return token

    def _expect(self, text: str) -> None:
        if not self._is_at(text):
            raise self._unexpected(f"`{text}`")
        self._advance()

    def _unexpected(self, expected: str) -> Fault:
        found = self._token
        what = (
            "the end"
            if found.kind == "end"
            else shown(found.text)
            if found.kind == "literal"
            else f"`{found.text}`"
        )
        return Fault(f"expected {expected}, found {what}", found.column)

    def _node(self, run: Run, *parts: _Node, weight: int = 1, where: str = "") -> _Node:
        self.nodes += weight
        if self.nodes > MAX_NODES:
            raise Fault(f"the expression has more than {MAX_NODES} parts", self._token.column)
        height = 1
        for part in parts:
            if part.height >= height:
                height = part.height + 1
        self._check_depth(height)
        return _Node(run, height, where)

    def _check_depth(self, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise Fault(f"the expression is nested deeper than {MAX_DEPTH} levels", self._token.column)


def _known(name: Token, table: Mapping[str, Function], what: str) -> Function:
    if name.text in table:
        return table[name.text]
    names = (*table, "default") if what == "filter" else (*table, "now")
    hint = did_you_mean(name.text, names)
    if what == "function" and name.text in (*FILTERS, "default"):
        hint = f"; as a filter it is written x | {name.text}"
    elif what == "filter" and name.text in FUNCTIONS:
        hint = f"; as a function it is written {name.text}(x)"
    raise Fault(f"unknown {what} {shown(name.text)}; known: {', '.join(sorted(names))}{hint}", name.column)


def _check_count(name: Token, count: int, least: int, most: int) -> None:
    if least <= count <= most:
        return
    wanted = str(least) if least == most else f"{least} to {most}"
    raise Fault(
        f"{name.text} takes {wanted} argument{'' if wanted == '1' else 's'}, not {count}", name.column
    )
