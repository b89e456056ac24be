"""A shop and a receiver of webhooks in one small server, of the standard library alone.

`GET /prices/ITEM` is what the workflow's HTTP agent asks; `POST /orders` takes signed webhooks, prints what is new, and
passes over what it has seen. SHOP_SECRET is the secret that both sides know, PORT the port (8080).
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
SECRET = base64.b64decode(os.environ["SHOP_SECRET"].removeprefix("whsec_"))
TOLERANCE_S = 300
seen: set[str] = set()


def is_genuine(headers: dict[str, str], body: bytes) -> bool:
    """Whether one of the signatures is ours, and the message is not old."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    ours = base64.b64encode(hmac.digest(SECRET, signed, hashlib.sha256)).decode()
    is_recent = abs(time.time() - int(headers["webhook-timestamp"])) < TOLERANCE_S
    theirs = headers["webhook-signature"].split()
    return is_recent and any(hmac.compare_digest(each, f"v1,{ours}") for each in theirs)


class Shop(BaseHTTPRequestHandler):
    """Answers both kinds of requests."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Say a price."""
        item = self.path.rpartition("/")[2]
        if item in PRICES:
            self.answer(200, {"item": item, "price": PRICES[item]})
        else:
            self.answer(404, {"error": f"there is no {item}"})

    def do_POST(self) -> None:
        """Take a batch of orders."""
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if not is_genuine(headers, body):
            self.answer(401, {"error": "not signed by us"})
            return
        for message in json.loads(body):
            if message["id"] not in seen:
                seen.add(message["id"])
                print("order:", json.dumps(message["data"]), flush=True)
        self.answer(200, {})

    def answer(self, status: int, data: object) -> None:
        """Send JSON."""
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Shop)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
