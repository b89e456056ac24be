"""What an exception of aiohttp means."""

from __future__ import annotations

import os
import socket
import ssl
from typing import Final

import aiohttp
from attrs import frozen

from actorflow.http.exchange import FailureKind, HttpFailed

__all__ = ["LIBRARY_ERRORS", "failed"]

LIBRARY_ERRORS: Final = (aiohttp.ClientError, OSError)
"""What a request may raise when it fails."""


@frozen
class _Meaning:
    error: type[Exception]
    kind: FailureKind
    what: str  #: behind whom was asked


_MEANINGS: Final = (
    _Meaning(aiohttp.ClientConnectorCertificateError, "tls", "has a certificate that is not trusted"),
    _Meaning(aiohttp.ClientSSLError, "tls", "could not agree on TLS"),
    _Meaning(aiohttp.ClientConnectorDNSError, "connect", "could not be looked up"),
    _Meaning(aiohttp.ClientConnectorError, "connect", "could not be connected"),
    _Meaning(aiohttp.ServerDisconnectedError, "protocol", "closed the connection before it answered"),
    _Meaning(aiohttp.ClientPayloadError, "protocol", "broke off its answer, or sent what is none"),
    _Meaning(aiohttp.ClientResponseError, "protocol", "sent what is no answer in HTTP"),
    _Meaning(OSError, "protocol", "broke the connection"),
    _Meaning(Exception, "protocol", "could not be asked"),
)
"""The first that fits; subclasses stand before what they are made of."""


def failed(error: Exception, origin: str, *, was_sent: bool) -> HttpFailed:
    """Say what it is: of which kind, and in words.

    Args:
        error: one of `LIBRARY_ERRORS`.
        origin: whom was asked.
        was_sent: see `HttpFailed`.
    """
    meaning = next(row for row in _MEANINGS if isinstance(error, row.error))
    reason = _reason(error)
    text = f"{origin} {meaning.what}{f': {reason}' if reason else ''}"
    return HttpFailed(meaning.kind, text, was_sent=was_sent)


def _reason(error: Exception) -> str:
    """What the system says; the library's own words hold the URL, and with it secrets."""
    cause = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    match cause:
        case ssl.SSLCertVerificationError():
            hint = _UNKNOWN_AUTHORITY if cause.verify_code in _OF_AUTHORITIES else ""
            return f"{cause.verify_message}{hint}"
        case ssl.SSLError(reason=str() as reason):
            return f"{reason.lower().replace('_', ' ')}{_NO_TLS if reason in _OF_NO_TLS else ''}"
        case socket.gaierror():
            return cause.strerror or ""
        case OSError(errno=int() as number) if number > 0:
            return os.strerror(number).lower()  # the loop's own words have an address, and not the reason
        case _:
            return getattr(cause, "strerror", None) or ""


_OF_AUTHORITIES: Final = frozenset({18, 19, 20, 21})
"""OpenSSL's numbers for a certificate that nobody vouches for who is trusted here."""

_UNKNOWN_AUTHORITY: Final = "; SSL_CERT_FILE may name a file of the authorities to be trusted"
_OF_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})
_NO_TLS: Final = "; does it speak http://, without TLS?"
