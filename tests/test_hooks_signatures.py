"""Signatures of webhooks, as the package of Standard Webhooks verifies them."""

from __future__ import annotations

import base64
import os
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from actorflow.hooks.signatures import BadSecret, signature

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(bytes(range(32))).decode()
BODY = b'{"total": 99}'


def headers_of(*secrets: str, body: bytes = BODY, at: float | None = None) -> dict[str, str]:
    timestamp = int(time.time() if at is None else at)
    return {
        "webhook-id": "r1/7/task_finished[0]",
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(secrets, "r1/7/task_finished[0]", timestamp, body),
    }


def test_a_signature_is_the_one_that_the_standard_shows():
    told = signature([SECRET], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert told == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_receiver_verifies_it():
    assert Webhook(SECRET).verify(BODY.decode(), headers_of(SECRET)) == {"total": 99}


@given(body=st.text(max_size=200), key=st.binary(min_size=24, max_size=64), at=st.integers(0, 2**33))
def test_whatever_is_sent_is_signed_as_the_package_signs_it(body: str, key: bytes, at: int):
    secret = base64.b64encode(key).decode()
    theirs = Webhook(secret).sign("m", datetime.fromtimestamp(at, UTC), body)
    assert signature([secret], "m", at, body.encode()) == theirs


def test_a_changed_byte_fails():
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify('{"total": 98}', headers_of(SECRET))


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp"])
def test_a_changed_header_fails(header: str):
    headers = headers_of(SECRET)
    headers[header] = {"webhook-id": "another", "webhook-timestamp": str(int(time.time()) + 1)}[header]
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(BODY.decode(), headers)


@pytest.mark.parametrize("off_by_s", [-600, 600])
def test_a_timestamp_that_is_old_or_of_the_future_fails(off_by_s: int):
    with pytest.raises(WebhookVerificationError, match="timestamp"):
        Webhook(SECRET).verify(BODY.decode(), headers_of(SECRET, at=time.time() + off_by_s))


def test_a_wrong_secret_fails():
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(BODY.decode(), headers_of(SECRET))


@pytest.mark.parametrize("known", [SECRET, OTHER])
def test_while_secrets_are_rotated_either_verifies(known: str):
    headers = headers_of(SECRET, OTHER)
    assert len(headers["webhook-signature"].split(" ")) == 2
    assert Webhook(known).verify(BODY.decode(), headers) == {"total": 99}


def test_the_prefix_of_a_secret_its_padding_and_blanks_around_it_do_not_matter():
    bare = OTHER.removeprefix("whsec_").rstrip("=")
    assert headers_of(bare, at=1.0) == headers_of(f" {OTHER}\n", at=1.0)


@pytest.mark.parametrize(
    ("secret", "problem"),
    [
        ("", "has 0 bytes"),
        ("whsec_", "has 0 bytes"),
        (base64.b64encode(os.urandom(23)).decode(), "has 23 bytes"),
        (base64.b64encode(os.urandom(65)).decode(), "has 65 bytes"),
        ("not base64 at all, but long enough!", "is no base64"),
        (SECRET[:-1], "has 23 bytes"),
        ("whsec_" + "ä" * 40, "is no base64"),
    ],
    ids=["empty", "prefix alone", "too short", "too long", "words", "cut", "not ASCII"],
)
def test_a_secret_that_is_none_cannot_sign_and_is_not_shown(secret: str, problem: str):
    with pytest.raises(BadSecret) as caught:
        signature([SECRET, secret], "m", 1, BODY)
    assert problem in str(caught.value)
    assert "24 to 64 bytes as base64, with or without whsec_" in str(caught.value)
    assert not secret or secret == "whsec_" or secret not in str(caught.value)


@pytest.mark.parametrize("size", [24, 64])
def test_the_least_and_the_most_bytes_are_taken(size: int):
    secret = base64.b64encode(bytes(size)).decode()
    assert Webhook(secret).verify(BODY.decode(), headers_of(secret)) == {"total": 99}
