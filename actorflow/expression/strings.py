"""Strings that hold templates, cut into text and expressions; `${…}` of the founding documents included."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby, islice
from typing import TypeAlias, cast

from actorflow.errors import ExpressionError
from actorflow.expression.compiled import Expression, compile_part
from actorflow.expression.limits import MAX_EXPRESSIONS, MAX_TEMPLATE, Fault
from actorflow.expression.names import ROOTS, SECRETS_PLACE, shown
from actorflow.expression.parser import parse
from actorflow.expression.sealed import SecretName

Piece: TypeAlias = str | Expression | SecretName

_MARK = re.compile(r"\$\$|\$\{\{|\$\{|\{\{")
_LEADING_DOT = re.compile(r"[ \t\r\n]*\.(?=[A-Za-z_])")
_DOLLAR = re.compile(r"[^{}]*(?=\})")
_DOLLAR_PATH = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:\.[A-Za-z_][A-Za-z0-9_-]*|\[-?[0-9]+\])*")
_CAPITALS = re.compile(r"[A-Z_][A-Z0-9_]*")
_SECRET = re.compile(r"secrets\.([A-Za-z_][A-Za-z0-9_]*+(?:-++[A-Za-z0-9_]++)*+)")
_BRACED_SECRET = re.compile(rf"[ \t\r\n]*+{_SECRET.pattern}[ \t\r\n]*+")
_BRACE_OR_QUOTE = re.compile(r""""(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+'|["'{}]""", re.DOTALL)


@lru_cache(maxsize=2_048)  # the same few strings stand in many tasks
def pieces_of(text: str, *, secrets: bool = False) -> tuple[Piece, ...]:
    """Cut a string into text, expressions and, where `secrets` says that they are legal, the names of secrets.

    The pieces are in order, without empty texts, no two texts side by side.

    Raises:
        ExpressionError: A template does not end, or is none, or names a secret where that is not legal; or the string
            is longer than 64 KiB.
    """
    if _MARK.search(text) is None:
        return (text,) if text else ()
    if len(text) > MAX_TEMPLATE:
        raise ExpressionError(
            f"a string with templates has at most {MAX_TEMPLATE:,} characters, not {len(text):,}"
        )
    found: list[Piece] = []
    place = expressions = 0
    while mark := _MARK.search(text, place):
        found.append(text[place : mark.start()])
        piece, place = _marked(text, mark, secrets)
        found.append(piece)
        expressions += not isinstance(piece, str)
        if expressions > MAX_EXPRESSIONS:
            raise ExpressionError(f"a string holds at most {MAX_EXPRESSIONS} expressions", source=text)
    found.append(text[place:])
    return tuple(_merged(found))


def _merged(pieces: list[Piece]) -> Iterator[Piece]:
    for is_text, group in groupby(pieces, lambda piece: isinstance(piece, str)):
        if not is_text:
            yield from group
        elif text := "".join(cast("Iterator[str]", group)):
            yield text


def _marked(text: str, mark: re.Match[str], secrets: bool) -> tuple[Piece, int]:
    """What the mark begins, and the place behind it."""
    match mark.group():
        case "$$":
            return "$", mark.end()
        case "{{":
            return _braced(text, mark, secrets)
        case _:
            return _dollar(text, mark, secrets)


def _braced(text: str, mark: re.Match[str], secrets: bool) -> tuple[Piece, int]:
    start = mark.end()
    stop = _closing_braces(text, mark)
    if dot := _LEADING_DOT.match(text, start, stop):
        start = dot.end()
    if secret := _BRACED_SECRET.fullmatch(text, start, stop):
        return _secret(secret, secrets), stop + 2
    return compile_part(text, start, stop), stop + 2


def _secret(found: re.Match[str], secrets: bool) -> SecretName:
    if secrets:
        return SecretName("secret", found[1])
    problem = f"secrets.{_short(found[1])} can stand only in {SECRETS_PLACE}"
    raise ExpressionError(problem, source=found.string, column=found.start(1) - len("secrets.") + 1)


def _closing_braces(text: str, opening: re.Match[str]) -> int:
    """Where the `}}` is that ends an expression; braces in quotes and those of mappings are none."""
    depth = 0
    place = opening.end()
    while match := _BRACE_OR_QUOTE.search(text, place):
        place = match.end()
        match match.group():
            case "{":
                depth += 1
            case "}" if depth:
                depth -= 1
            case "}" if text.startswith("}", place):
                return match.start()
            case '"' | "'":
                problem = "the text that begins here has no closing quote"
                raise ExpressionError(problem, source=text, column=place)
            case _:
                pass
    raise ExpressionError("`{{` has no `}}` that closes it", source=text, column=opening.start() + 1)


def _dollar(text: str, mark: re.Match[str], secrets: bool) -> tuple[Piece, int]:
    inner = _DOLLAR.match(text, mark.end())
    if mark.group() == "${{":
        problem = "`${{` is no template: write {{ }} without the dollar"
    elif inner is None:
        problem = "`${` has no `}` that closes it"
    elif secret := _SECRET.fullmatch(text, inner.start(), inner.end()):
        return _secret(secret, secrets), inner.end() + 1
    elif _CAPITALS.fullmatch(inner.group()):
        if secrets:
            return SecretName("env", inner.group()), inner.end() + 1
        problem = _environment_elsewhere(inner.group())
    elif (path := _DOLLAR_PATH.fullmatch(inner.group())) is None or path.group(1) not in ROOTS:
        problem = _unknown_dollar(inner.group())
    else:
        return compile_part(text, inner.start(), inner.end(), is_dollar=True), inner.end() + 1
    problem = f"{problem}; a literal dollar sign is written $$"
    raise ExpressionError(problem, source=text, column=mark.start() + 1)


def _environment_elsewhere(name: str) -> str:
    written = f"${{{_short(name)}}}"
    return (
        f"{written} is the environment or a secret, and can stand only in {SECRETS_PLACE}"
        f" (elsewhere, a variable that is listed under env: is read as {{{{ env.{_short(name)} }}}})"
    )


def _unknown_dollar(content: str) -> str:
    written, roots = f"${{{_short(content)}}}", ", ".join(sorted(ROOTS))
    return f"{written} is unknown: an expression is written {{{{ }}}}, a path begins with one of {roots}"


def _short(text: str) -> str:
    return shown(text)[1:-1]


# In a shell string only what can be nobody else's is ours: Go's templates (`docker ps --format`) have fields with a
# leading dot and functions called `index`; the shell has variables without a dot.
_MARKED = re.compile(r"\{\{(?!\{)(?P<braced>(?:[^{}]++|\{[^{}]*+\})*+)\}\}|\$\{(?P<dollar>[^{}]*+)\}")
_OUR_START = re.compile(
    r"\s*(?:\.(?:input|tasks?|workflow)|input|tasks?|workflow|env|secrets)\s*[.\[]\s*[\w\"']"
)
_OUR_WORD = re.compile(rf"(?<!\w)(?:{'|'.join(sorted(ROOTS))})\b")
_OUR_DOLLAR = re.compile(rf"(?:{'|'.join(sorted(ROOTS))})\.[\w.\[\]-]+")


def our_template_roots(text: str) -> tuple[str, ...]:
    """The templates in an opaque shell string that were meant for us, as they are written there, each once, in order.

    A template is ours if its expression reads one of our roots: `{{ input.x }}`, `${task.x.output}`. `{{.Names}}`,
    `${HOME}` and `$WORKFLOW_ERROR` are not. Never raises; what cannot be told is not ours.
    """
    candidates = (match for match in _MARKED.finditer(text) if _may_be_ours(match))
    found: dict[str, None] = {}
    for match in islice(candidates, _LOOKED_AT):
        if match["braced"] is None or _OUR_START.match(match["braced"]) or _reads_our_root(match["braced"]):
            found.setdefault(match.group())
    return tuple(found)


def _may_be_ours(match: re.Match[str]) -> bool:
    if match["braced"] is None:
        return _OUR_DOLLAR.fullmatch(match["dollar"]) is not None
    return len(match["braced"]) <= _LOOKED_INTO and _OUR_WORD.search(match["braced"]) is not None


def _reads_our_root(inner: str) -> bool:
    try:
        return any(path[0] in ROOTS for path in parse(inner, 0, len(inner), is_dollar=False).paths)
    except Fault:
        return False


_LOOKED_AT = 300  # templates of one string: each may have to be compiled, which takes up to 0.3 ms
_LOOKED_INTO = 200  # code points of one
