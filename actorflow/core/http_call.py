"""The HTTP request of an attempt: compiled once, rendered when the attempt starts, opened right before it is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeAlias, TypeVar

from attrs import field, frozen

from actorflow.core.texts import Text, text_of
from actorflow.expression import (
    Expression,
    Sealed,
    SecretName,
    Template,
    compile_expression,
    compile_template,
    unseal,
)
from actorflow.expression.kinds import is_list
from actorflow.spec.model import HttpRunner

Lookup: TypeAlias = Callable[[SecretName], str]
"""Gives the value of a secret, or raises."""

T = TypeVar("T", Text, str)


@frozen
class HttpTemplates:
    """What is rendered for a request."""

    request: Template = field(repr=False)  #: `url`, `headers`, `query`, `auth`, and `body` or `json`
    extract: Expression | None

    @property
    def parts(self) -> Iterator[Expression | Template]:
        """Those that are there."""
        yield self.request
        if self.extract is not None:
            yield self.extract


@frozen
class Extract:
    """The part of an answer that is the output: an expression, and what it may read besides the answer."""

    expression: Expression
    context: Mapping[str, Any] = field(repr=False)

    def of(self, answer: Any) -> Any:
        """The output.

        Raises:
            ExpressionError: the answer has no such part.
        """
        return self.expression.evaluate({**self.context, "output": answer})


@frozen(kw_only=True)
class HttpCall(Generic[T]):
    """A rendered request, its texts with places for secrets, or opened: plain.

    Its method and the statuses that it expects are those of the runner.
    """

    url: T = field(repr=False)
    headers: Mapping[str, T] = field(repr=False)
    query: tuple[tuple[str, T], ...] = field(repr=False)
    body: T | None = field(repr=False)  #: None: it has none, or `json` is it
    json: Any = field(repr=False)
    auth: Mapping[str, T] = field(repr=False)  #: as of `HttpAuth.values`; empty where nobody says who asks
    secret_headers: frozenset[str]  #: names in lower case; those that were rendered with a secret in them
    extract: Extract | None = None  #: None: the whole answer is the output
    is_quotable: bool = True  #: whether a message may say what the answer says

    def opened(self: HttpCall[Text], lookup: Lookup) -> HttpCall[str]:
        """The same, with the secrets put in.

        Raises:
            Exception: Whatever `lookup` raises.
        """
        return HttpCall(
            url=_opened(self.url, lookup),
            headers={name: _opened(value, lookup) for name, value in self.headers.items()},
            query=tuple((name, _opened(value, lookup)) for name, value in self.query),
            body=None if self.body is None else _opened(self.body, lookup),
            json=unseal(self.json, lookup),
            auth={name: _opened(value, lookup) for name, value in self.auth.items()},
            secret_headers=self.secret_headers,
            extract=self.extract,
            is_quotable=self.is_quotable,
        )


def http_templates(runner: HttpRunner) -> HttpTemplates:
    """Compile what a runner sends and takes."""
    request: dict[str, Any] = {
        "url": runner.url,
        "headers": dict(runner.headers),
        "query": dict(runner.query),
    }
    request["auth"] = {} if runner.auth is None else dict(runner.auth.values)
    if runner.has_json:
        request["json"] = runner.json
    elif runner.body is not None:
        request["body"] = runner.body
    extract = None if runner.extract is None else compile_expression(runner.extract)
    return HttpTemplates(compile_template(request, secrets=True), extract)


def http_call(templates: HttpTemplates, context: Mapping[str, Any], *, is_quotable: bool) -> HttpCall[Text]:
    """Render a request.

    Raises:
        ExpressionError: a template in it cannot be rendered, or gives a list or mapping where a text is sent.
    """
    rendered = templates.request.render(context)
    headers = {name: text_of(value, f"http.headers.{name}") for name, value in rendered["headers"].items()}
    return HttpCall(
        url=text_of(rendered["url"], "http.url"),
        headers=headers,
        query=tuple(_query(rendered["query"])),
        body=text_of(rendered["body"], "http.body") if "body" in rendered else None,
        json=rendered.get("json"),
        auth={name: text_of(value, f"http.auth.{name}") for name, value in rendered["auth"].items()},
        secret_headers=frozenset(
            name.lower() for name, value in headers.items() if isinstance(value, Sealed)
        ),
        extract=None if templates.extract is None else Extract(templates.extract, context),
        is_quotable=is_quotable,
    )


def _query(rendered: Mapping[str, Any]) -> Iterator[tuple[str, Text]]:
    """A parameter for each value; a list has one for each item."""
    for name, value in rendered.items():
        for item in value if is_list(value) else (value,):
            yield name, text_of(item, f"http.query.{name}")


def _opened(value: Text, lookup: Lookup) -> str:
    return value if isinstance(value, str) else value.resolve(lookup)
