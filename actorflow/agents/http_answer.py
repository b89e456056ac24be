"""What an HTTP answer says: its output, or how the attempt failed."""

from __future__ import annotations

import codecs
import json
import re
from typing import Any, Final, NoReturn

from anyio import to_thread

from actorflow.agents.call import AgentCall, AgentFailed
from actorflow.agents.process_output import READ_IN_PLACE
from actorflow.core.http_call import Extract, HttpCall
from actorflow.errors import ExpressionError
from actorflow.http.exchange import HttpAnswer, status_named

__all__ = ["output_of", "unexpected_status"]

LONGEST_BODY_KEPT: Final = 2048  #: bytes of UTF-8 of a failed answer's body, for its record
_LONGEST_SAYING: Final = 200  # characters of it in a message
_ASKS_TO_WAIT: Final = frozenset({429, 503})  # RFC 6585, section 4; RFC 9110, section 15.6.4
_JSON: Final = re.compile(r"(?:application|text)/(?:[^;\s]+\+)?json\s*(?:;|$)", re.IGNORECASE)
_CHARSET: Final = re.compile(r";\s*charset\s*=\s*\"?([A-Za-z0-9._:-]{1,40})", re.IGNORECASE)
_CHARSETS: Final = frozenset(
    {
        "ascii", "big5", "cp1250", "cp1251", "cp1252", "euc_jp", "euc_kr", "gb18030", "gb2312", "gbk", "iso2022_jp",
        "iso8859-1", "iso8859-15", "iso8859-2", "iso8859-5", "koi8-r", "shift_jis", "utf-16", "utf-16-be", "utf-16-le",
        "utf-8", "utf-8-sig",
    }
)  # fmt: skip
"""Those of texts, as Python names them; it has others as well, of which some take a time that grows with the square."""


async def output_of(call: AgentCall, http: HttpCall[str], answer: HttpAnswer) -> Any:
    """The output of an answer whose status was expected, without the secrets that it may hold.

    It is what the body is as JSON if it says that it is JSON, null if it is empty, and its text otherwise, in which what
    cannot be decoded is replaced; and of that the part that `extract` takes.

    Raises:
        AgentFailed: `output` for JSON that is none, or nested too deep, `expression` where `extract` fails.
    """
    is_large = len(answer.body) > READ_IN_PLACE
    try:
        read = await to_thread.run_sync(_read, answer) if is_large else _read(answer)
        # before an expression may take a value apart, so that it would not be known again
        whole = call.hiding.data(read)
    except (ValueError, RecursionError) as error:
        message = f"the answer should be JSON, and is not: {_why(error)}"
        raise AgentFailed("output", message, answer.facts) from None
    return whole if http.extract is None else _extracted(http.extract, whole, http, answer)


def unexpected_status(call: AgentCall, http: HttpCall[str], asked: str, answer: HttpAnswer) -> AgentFailed:
    """The failure of an attempt whose answer is not the one that was wished for.

    Its detail has `http_status`, what the answer asks for as `retry_after_s`, and the beginning of its body.

    Args:
        call: the attempt.
        http: its request.
        asked: the method and the target.
        answer: what came.
    """
    message = f"{asked} answered {status_named(answer.status)}"
    detail = answer.facts
    if answer.status in _ASKS_TO_WAIT and answer.retry_after_s is not None:
        detail["retry_after_s"] = answer.retry_after_s
    if not http.is_quotable or not answer.body:
        return AgentFailed("http_status", message, detail)
    text = call.hiding.text(_text(answer))  # before it is cut: a part of a value would not be known again
    detail["body"] = text.encode(errors="replace")[:LONGEST_BODY_KEPT].decode(errors="ignore")
    saying = " ".join(detail["body"].split())
    return AgentFailed("http_status", f"{message}: {_cut(saying)}" if saying else message, detail)


def _read(answer: HttpAnswer) -> Any:
    if not answer.body:
        return None
    if _JSON.match(answer.headers.get("content-type", "").strip()) is None:
        return _text(answer)
    return json.loads(answer.body, parse_constant=_refuse_constant)


def _text(answer: HttpAnswer) -> str:
    named = _CHARSET.search(answer.headers.get("content-type", ""))
    return answer.body.decode(_charset(named[1]) if named is not None else "utf-8", errors="replace")


def _charset(name: str) -> str:
    try:
        known = codecs.lookup(name).name
    except LookupError:
        return "utf-8"
    return known if known in _CHARSETS else "utf-8"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _why(error: ValueError | RecursionError) -> str:
    """What is wrong with the text, which is not quoted."""
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)


def _extracted(extract: Extract, whole: Any, http: HttpCall[str], answer: HttpAnswer) -> Any:
    try:
        return extract.of(whole)
    except ExpressionError as error:
        why = str(error) if http.is_quotable else "the answer does not have it"
        raise AgentFailed("expression", f"extract: {why}", answer.facts) from None


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SAYING else text[: _LONGEST_SAYING - 1] + "…"
