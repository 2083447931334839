"""Who a visitor is by the word of a site: signed JSON Web Tokens."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.web.identity import read_identity
from tests.connectors.web.signing import SECRET, sign

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def seconds(minutes: float) -> int:
    """Return a time so many minutes from now, as tokens tell it."""
    return int((NOW + timedelta(minutes=minutes)).timestamp())


def test_token_of_the_site_names_the_person() -> None:
    """What the site's server writes with any library that knows JWT."""
    token = sign(sub="42", exp=seconds(5), name=" Ada\u202e Lovelace", email="ada@example.org")

    identity = read_identity(token, SECRET, NOW)

    assert identity is not None
    assert (identity.subject, identity.name, identity.email) == ("42", "Ada Lovelace", "ada@example.org")


@pytest.mark.parametrize(
    ("minutes", "is_good"), [(-4.9, True), (-5.1, False), (5, True), (60 * 24 * 365, True)]
)
def test_token_ends_with_five_minutes_of_leeway(minutes: float, is_good: bool) -> None:
    """The clocks of the site and of the hub may be so far apart."""
    token = sign(sub="42", exp=seconds(minutes))

    assert (read_identity(token, SECRET, NOW) is not None) is is_good


@pytest.mark.parametrize(("minutes", "is_good"), [(4.9, True), (5.1, False), (-60, True)])
def test_token_begins_with_five_minutes_of_leeway(minutes: float, is_good: bool) -> None:
    """`nbf`, where the site sets it."""
    token = sign(sub="42", exp=seconds(60), nbf=seconds(minutes))

    assert (read_identity(token, SECRET, NOW) is not None) is is_good


@pytest.mark.parametrize(
    "head",
    [
        {"alg": "none"},
        {"alg": "None", "typ": "JWT"},
        {"alg": "HS512"},
        {"alg": "RS256"},
        {"alg": ["HS256"]},
        {"alg": "HS256", "crit": ["exp"]},
        {"typ": "JWT"},
        {},
        [],
        "HS256",
    ],
)
def test_algorithm_is_not_the_tokens_to_choose(head: Any) -> None:
    """Even signed with the right key: HS256 or nothing."""
    assert read_identity(sign(head, sub="42", exp=seconds(5)), SECRET, NOW) is None


def test_token_without_signature_is_refused() -> None:
    """The empty signature of `alg: none`, and none at all."""
    head, claims, _ = sign({"alg": "none"}, sub="42", exp=seconds(5)).split(".")

    for token in (f"{head}.{claims}.", f"{head}.{claims}", head, "", ".."):
        assert read_identity(token, SECRET, NOW) is None


def test_token_of_another_key_is_refused() -> None:
    """And where the site has no secret, an empty key is none."""
    token = sign(sub="42", exp=seconds(5))
    empty = sign(sub="42", exp=seconds(5), secret=b"")

    assert read_identity(token, b"another key of at least 32 bytes!", NOW) is None
    assert read_identity(empty, b"", NOW) is None


@pytest.mark.parametrize("part", [0, 1, 2])
def test_changed_token_is_refused(part: int) -> None:
    """One letter in any part is enough."""
    parts = sign(sub="42", exp=seconds(5)).split(".")
    letter = "A" if parts[part][10] != "A" else "B"
    parts[part] = parts[part][:10] + letter + parts[part][11:]

    assert read_identity(".".join(parts), SECRET, NOW) is None


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"sub": "42"},
        {"sub": "42", "exp": None},
        {"sub": "42", "exp": "2999-01-01"},
        {"sub": "42", "exp": True},
        {"sub": "42", "exp": float("nan")},
        {"sub": "42", "exp": float("inf")},
        {"sub": "42", "exp": 10**400},
        {"sub": "42", "exp": seconds(5), "nbf": "now"},
        {"exp": seconds(5)},
        {"sub": "", "exp": seconds(5)},
        {"sub": 42, "exp": seconds(5)},
        {"sub": ["42"], "exp": seconds(5)},
        {"sub": "x" * 201, "exp": seconds(5)},
        {"sub": "4\x002", "exp": seconds(5)},
        {"sub": "4\u200b2", "exp": seconds(5)},
        {"sub": "4\n2", "exp": seconds(5)},
    ],
    ids=str,
)
def test_claims_that_name_nobody_are_refused(claims: dict[str, Any]) -> None:
    """`sub` and `exp` are needed, each of its kind; a subject that only looks like another one is none."""
    assert read_identity(sign(**claims), SECRET, NOW) is None


@pytest.mark.parametrize("payload", [b"", b"null", b"[]", b"{", b"\xff", b"[" * 3000])
def test_payload_that_is_no_object_is_refused(payload: bytes) -> None:
    """Whatever the site's key has signed."""
    parts = [base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"HS256"}', payload)]
    digest = hmac.digest(SECRET, ".".join(parts).encode(), hashlib.sha256)
    token = ".".join([*parts, base64.urlsafe_b64encode(digest).decode().rstrip("=")])

    assert read_identity(token, SECRET, NOW) is None


def test_names_that_are_none_are_left_out() -> None:
    """They are a courtesy; the person is known without."""
    identity = read_identity(sign(sub="42", exp=seconds(5), name=7, email={"a": 1}), SECRET, NOW)

    assert identity is not None
    assert (identity.name, identity.email) == ("", "")
