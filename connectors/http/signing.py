"""Signatures of requests: who knows the secret, and nobody else, can have sent a body, and only just now."""

import hashlib
import hmac
import time

TIMESTAMP_HEADER = "X-Hubbub-Timestamp"
SIGNATURE_HEADER = "X-Hubbub-Signature"
TOLERANCE_S = 300
"""Older requests, and those of clocks further ahead, are refused: a recorded request is of no use to anybody."""


def sign(secret: bytes, body: bytes, now_s: float | None = None) -> dict[str, str]:
    """Return the headers that prove where a body comes from."""
    timestamp = str(int(time.time() if now_s is None else now_s))
    return {TIMESTAMP_HEADER: timestamp, SIGNATURE_HEADER: f"v1={_mac(secret, timestamp, body)}"}


def is_signed(
    secret: bytes, body: bytes, *, timestamp: str, signature: str, now_s: float | None = None
) -> bool:
    """Tell whether these headers belong to a body, and are fresh."""
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return False
    now_s = time.time() if now_s is None else now_s
    expected = f"v1={_mac(secret, timestamp, body)}"
    is_right = hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace"))
    return is_right and abs(now_s - int(timestamp)) <= TOLERANCE_S


def _mac(secret: bytes, timestamp: str, body: bytes) -> str:
    return hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
