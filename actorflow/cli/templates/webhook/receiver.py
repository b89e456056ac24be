"""A shop that says prices, and takes signed webhooks as https://www.standardwebhooks.com describes them.

Of the standard library alone; WEBHOOK_SECRET is the secret that both sides know. Ctrl-C ends it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PRICES = {"bread": 4, "cake": 25}
PORT = 8799
SECRET = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
TOLERANCE_S = 300
seen: set[str] = set()


def is_genuine(headers: dict[str, str], body: bytes) -> bool:
    """Whether one of the signatures is ours, and the message is not old."""
    said_at = headers.get("webhook-timestamp", "0")
    signed = f"{headers.get('webhook-id', '')}.{said_at}.".encode() + body
    ours = "v1," + base64.b64encode(hmac.digest(SECRET, signed, hashlib.sha256)).decode()
    is_recent = said_at.isdigit() and abs(time.time() - int(said_at)) < TOLERANCE_S
    return is_recent and any(
        hmac.compare_digest(each, ours) for each in headers.get("webhook-signature", "").split()
    )


class Shop(BaseHTTPRequestHandler):
    """Answers both kinds of requests."""

    def do_GET(self) -> None:
        """Say a price."""
        item = self.path.rpartition("/")[2]
        found = item in PRICES
        self.answer(200 if found else 404, {"item": item, "price": PRICES[item]} if found else {})

    def do_POST(self) -> None:
        """Take a webhook; one that was seen before, under the same id, is taken and passed over."""
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if not is_genuine(headers, body):
            self.answer(401, {"error": "not signed by us"})
            return
        if headers["webhook-id"] not in seen:
            seen.add(headers["webhook-id"])
            print("order:", body.decode(), flush=True)
        self.answer(200, {})

    def answer(self, status: int, data: object) -> None:
        """Send JSON."""
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of each request."""


if __name__ == "__main__":
    print(f"http://127.0.0.1:{PORT}", flush=True)
    ThreadingHTTPServer(("127.0.0.1", PORT), Shop).serve_forever()
