"""The text of an expression, cut into tokens."""

from __future__ import annotations

import re
from math import isinf
from typing import Any, Literal, NamedTuple

from actorflow.expression.limits import MAX_DIGITS, MAX_SOURCE, Fault

Kind = Literal["end", "literal", "member", "name", "operator"]


class Token(NamedTuple):
    """A word of the expression; `text` tells operators and names apart, `value` is what a literal stands for."""

    kind: Kind
    text: str
    column: int  #: from 1, in the whole string that the expression is part of
    value: Any = None


# Identifiers are ASCII: a look-alike from another script would be a name that nobody can see is another one.
# Possessive quantifiers keep a long run of digits or letters from being tried again at every length.
_TOKEN = re.compile(
    r"""
    [ \t\r\n]*+
  (?:
    (?P<number>[0-9]++(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?(?![A-Za-z0-9_]))
  | (?P<string>"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+')
  | (?P<member>\.[A-Za-z_][A-Za-z0-9_]*+(?:-++[A-Za-z0-9_]++)*+)
  | (?P<mistake>&&|\|\||\*\*|==(?==)|=(?!=)|!(?!=)|\?|is\b)
  | (?P<word>(?:and|or|not[ \t\r\n]++in|not|in|if|else)(?![A-Za-z0-9_]))
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*+)
  | (?P<operator>//|[=!<>]=|[-+*/%~<>()\[\]{},:|])
  )
    """,
    re.VERBOSE | re.DOTALL,
)

_SPACE = " \t\r\n"

_MISTAKES = {
    "&&": "write `and`",
    "||": "write `or`",
    "**": "there is no power operator",
    "=": "to compare, write `==`",
    "==": "to compare, write `==`",
    "!": "write `not`",
    "?": "write `x if c else y`, or x | default(y)",
    "is": "to compare, write `==`",
}

_CONSTANTS: dict[str, bool | None] = {
    "true": True,
    "false": False,
    "null": None,
    "True": True,
    "False": False,
    "None": None,
}

_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "0": "\0"}
_SURROGATE = re.compile("[\ud800-\udfff]")


def tokens_of(text: str, start: int, stop: int) -> list[Token]:
    """Cut the expression that lies at this place of a string; the last token is of kind `end`.

    Raises:
        Fault: It is too long, or something in it is no token.
    """
    if stop - start > MAX_SOURCE:
        raise Fault(f"the expression is longer than {MAX_SOURCE:,} characters", start + 1)
    found: list[Token] = []
    end = start + len(text[start:stop].rstrip(_SPACE))
    while start < end:
        match = _TOKEN.match(text, start, end)
        if match is None:
            start = end - len(text[start:end].lstrip(_SPACE))
            raise _no_token(text[start], start + 1)
        found.append(_token(match))
        start = match.end()
    found.append(Token("end", "the end", stop + 1))
    return found


def _token(match: re.Match[str]) -> Token:
    group = match.lastgroup or ""
    text = match[group]
    column = match.start(group) + 1
    match group:
        case "name" if text in _CONSTANTS:
            return Token("literal", text, column, _CONSTANTS[text])
        case "name":
            return Token("name", text, column)
        case "member":
            return Token("member", text[1:], column + 1)
        case "number":
            return Token("literal", text, column, _number(text, column))
        case "string":
            return Token("literal", text, column, _unquoted(text, column))
        case "mistake":
            raise Fault(f"`{text}` is no operator here; {_MISTAKES[text]}", column)
        case _:
            return Token("operator", "not in" if text.startswith("not") and text != "not" else text, column)


def _number(text: str, column: int) -> int | float:
    if text.isdigit():
        if len(text) > MAX_DIGITS:
            raise Fault(f"the number has more than {MAX_DIGITS} digits", column)
        return int(text)
    number = float(text)
    if isinf(number):
        raise Fault("the number is too large", column)
    return number


def _unquoted(text: str, column: int) -> str:
    def replaced(match: re.Match[str]) -> str:
        code = match.group(1)
        if len(code) > 1:
            return chr(int(code[1:], 16))
        if code in _ESCAPES:
            return _ESCAPES[code]
        if code.isalnum():
            raise Fault(f"\\{code} is no escape; a backslash is written \\\\", column + 1 + match.start())
        return code

    inner = text[1:-1]
    value = _ESCAPE.sub(replaced, inner) if "\\" in inner else inner
    if _SURROGATE.search(value) is None:
        return value
    try:
        return value.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise Fault("the text holds half of a surrogate pair, which is no character", column) from None


def _no_token(character: str, column: int) -> Fault:
    if character in "\"'":
        return Fault("the text that begins here has no closing quote", column)
    if character.isdigit() and character.isascii():
        return Fault(
            "a number ends with a digit: no letter may follow it, and none is written with `_`", column
        )
    if character == ".":
        return Fault("a name must follow the dot; an item is reached as in [0]", column)
    visible = f"`{character}`, " if character.isprintable() else ""
    return Fault(f"{visible}U+{ord(character):04X}, cannot stand in an expression outside quotes", column)
