"""Signatures of webhooks, as Standard Webhooks has them: what a receiver needs to know that a body is ours, and when it left.

Signed is `id.timestamp.body`, by HMAC-SHA256, once for each secret. Who changes a secret signs with the old one and the new
one for a while, and the receiver may know either.
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md)
"""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Final

__all__ = ["SIGNATURE_HEADER", "BadSecret", "signature"]

SIGNATURE_HEADER: Final = "webhook-signature"

_PREFIX: Final = "whsec_"
_VERSION: Final = "v1"
_SHORTEST, _LONGEST = 24, 64  #: bytes of a secret


class BadSecret(Exception):  # noqa: N818 - a fact about a secret
    """Raised for a secret that cannot sign; its message does not show it."""


def signature(secrets: Iterable[str], message_id: str, timestamp: int, body: bytes) -> str:
    """The value of the signature header: `v1,…` for each secret, in their order, with a blank between them.

    Args:
        secrets: 24 to 64 bytes each, as base64, with `whsec_` before it or not.
        message_id: the `webhook-id`.
        timestamp: the `webhook-timestamp`, in epoch seconds.
        body: as it is sent.

    Raises:
        BadSecret: one of them is none.
    """
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return " ".join(f"{_VERSION},{_signed_with(_key(secret), signed)}" for secret in secrets)


def _signed_with(key: bytes, signed: bytes) -> str:
    return b64encode(hmac.digest(key, signed, "sha256")).decode()


def _key(secret: str) -> bytes:
    text = secret.strip().removeprefix(_PREFIX)
    try:
        key = b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise BadSecret(f"the secret to sign with is no base64; {_HINT}") from None
    if not _SHORTEST <= len(key) <= _LONGEST:
        raise BadSecret(f"the secret to sign with has {len(key)} bytes; {_HINT}")
    return key


_HINT: Final = f"give {_SHORTEST} to {_LONGEST} bytes as base64, with or without {_PREFIX}"
