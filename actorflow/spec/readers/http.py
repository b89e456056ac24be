"""HTTP requests as a file says them: where to, with what, who asks, and what counts as success."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from actorflow.spec.model import HttpAuth, HttpRunner
from actorflow.spec.readers.block import Block, Keys
from actorflow.spec.readers.draft import Draft, Scope, read_data
from actorflow.spec.readers.expressions import read_expression
from actorflow.spec.readers.paths import refuse_untrusted
from actorflow.spec.readers.urls import HEADER_NAME, check_headers, check_is_secret, check_url, read_statuses
from actorflow.spec.readers.words import HTTP, HTTP_METHODS
from actorflow.spec.text.nodes import BROKEN, ListNode, kind_of

__all__ = ["read_http"]

_PROOFS: Final[Mapping[Literal["basic", "api_key"], tuple[str, str]]] = {
    "basic": ("username", "password"),
    "api_key": ("header", "value"),
}


def read_http(draft: Draft, block: Block, scope: Scope) -> HttpRunner | None:
    """Read `http:`; its texts are templates of `scope`, and what proves who asks must be a secret."""
    if refuse_untrusted(draft, block, "http", "E206", "hosts"):
        return None
    fields = block.block("http")
    if fields is None:
        return None
    fields.allow(HTTP)
    if not fields.has("url"):
        fields.own_fault("E122", "has no address", "add url: https://HOST/PATH")
    check_url(fields, "url")
    if fields.has("body") and fields.has("json"):
        fields.key_fault("E125", "json", "'body' and 'json' both are the body; keep one")
    return HttpRunner(
        url=_template(draft, fields, "url", scope) or "",
        method=fields.choice("method", HTTP_METHODS) or "GET",
        headers=_read_headers(draft, fields, scope),
        query=_read_query(draft, fields, scope),
        body=_template(draft, fields, "body", scope),
        json=read_data(draft, fields, "json", scope) if fields.has("json") else None,
        has_json=fields.has("json"),
        auth=_read_auth(draft, fields, scope),
        expect_status=read_statuses(fields, "expect_status"),
        extract=read_expression(draft, fields, "extract", scope.knowing("output")),
    )


def _template(draft: Draft, fields: Block, key: str, scope: Scope) -> str | None:
    text = fields.text(key)
    if text is not None:
        draft.note(text, fields.mark(key), fields.path_of(key), scope)
    return text


def _read_headers(draft: Draft, fields: Block, scope: Scope) -> dict[str, Any]:
    if not fields.has("headers"):
        return {}
    check_headers(fields, "headers")
    headers = fields.block("headers")
    return {} if headers is None else {name: read_data(draft, headers, name, scope) for name in headers.node}


def _read_query(draft: Draft, fields: Block, scope: Scope) -> dict[str, Any]:
    query = fields.block("query")
    if query is None:
        return {}
    for name, value in query.node.items():
        items = value if isinstance(value, ListNode) else [value]
        wrong = next((item for item in items if not isinstance(item, str | int | float)), BROKEN)
        if wrong is not BROKEN:
            query.fault("E121", name, f"must be text, a number, or a list of them, not {kind_of(wrong)}")
    return {name: read_data(draft, query, name, scope) for name in query.node}


def _read_auth(draft: Draft, fields: Block, scope: Scope) -> HttpAuth | None:
    auth = fields.block("auth")
    if auth is None:
        return None
    auth.allow(_AUTH)
    given = [key for key in ("bearer", *_PROOFS) if auth.has(key)]
    if len(given) > 1:
        auth.key_fault("E125", given[1], f"{given[0]!r} and {given[1]!r} both say who asks; keep one")
    if not given:
        auth.own_fault("E122", "does not say who asks", "add bearer:, basic: or api_key:")
    if "bearer" in given:
        check_is_secret(auth, "bearer")
        token = _template(draft, auth, "bearer", scope)
        return HttpAuth(kind="bearer", values={"token": token or ""})
    for kind, names in _PROOFS.items():
        if kind in given:
            return _read_proof(draft, auth, kind, names, scope)
    return None


_AUTH: Final = Keys.of("bearer basic api_key")


def _read_proof(
    draft: Draft, auth: Block, kind: Literal["basic", "api_key"], names: tuple[str, str], scope: Scope
) -> HttpAuth | None:
    """Who asks in two texts, of which the second is secret."""
    fields = auth.block(kind)
    if fields is None:
        return None
    fields.allow(Keys(frozenset(names)))
    for name in names:
        if not fields.has(name):
            fields.own_fault("E122", f"needs {name!r}")
    if kind == "api_key":
        header = fields.text("header")
        if header is not None and HEADER_NAME.fullmatch(header) is None:
            fields.fault("E141", "header", f"{header!r} cannot be the name of a header")
    check_is_secret(fields, names[1])
    return HttpAuth(kind=kind, values={name: _template(draft, fields, name, scope) or "" for name in names})
