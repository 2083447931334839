"""Whose word about a sender counts. Source: RFC 8601 sections 5 and 7.1."""

import email

import pytest

from connectors.email.authentication import authserv_id_of, dmarc


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("mx.example.org; dmarc=pass header.from=example.net", "pass"),
        ("mx.example.org; spf=pass; dmarc=fail (p=reject) header.from=example.net", "fail"),
        ("MX.example.org 1; dmarc=none", "none"),
        ("mx.example.org; spf=fail smtp.mailfrom=example.net", "fail"),
        ("mx.example.org; spf=softfail; dkim=pass", "none"),
        ("mx.example.org; dmarc=pass (p=none (really)) header.from=example.net", "pass"),
        ("mx.example.org; dmarc/1 = pass", "pass"),
        ("mx.example.org; dkim=fail; dkim=pass header.d=example.net; spf=fail", "none"),
        ('mx.example.org; spf=neutral smtp.mailfrom="x; dmarc=pass"@example.net', "none"),
        ('mx.example.org; dmarc=fail header.from="a; dmarc=pass ;"', "fail"),
        ("mx.example.org; dmarc=fail (a (b) ; dmarc=pass ) x=y", "fail"),
        ("mx.example.org; dmarc=fail; dmarc=pass", "fail"),
        ("mx.example.org; dmarc=none; dmarc=pass", "none"),
        ("mx.example.org; x-dmarc=pass", "none"),
        ("mx.example.org; dmarc=passed", "none"),
        ("mx.example.org", "none"),
        ("mx.example.org; none", "none"),
        ('"mx.example.org"; dmarc=pass', ""),
        ("evil.example.net; dmarc=pass", ""),
        ("mx.example.org.evil.net; dmarc=pass", ""),
        ("(mx.example.org;) evil.net; dmarc=pass", ""),
        ("", ""),
    ],
)
def test_only_the_own_servers_verdict_counts(header: str, expected: str) -> None:
    """Anybody can write an Authentication-Results header; only the named server's is read."""
    mail = email.message_from_string(f"Authentication-Results: {header}\n\n" if header else "To: x\n\n")

    assert dmarc(mail, "mx.example.org") == expected
    assert dmarc(mail, "") == ""


def test_verdict_below_the_topmost_is_forged() -> None:
    """What stands below a foreign result was there before our server saw the mail."""
    forged = email.message_from_string(
        "Authentication-Results: other.example; spf=none\nAuthentication-Results: mx.example.org; dmarc=pass\n\n"
    )

    assert dmarc(forged, "mx.example.org") == ""


def test_the_servers_name_is_found() -> None:
    """For the person who has to write it into the settings."""
    mail = email.message_from_string("Authentication-Results: MX.example.org (x) 1; dmarc=pass\n\n")

    assert authserv_id_of(mail) == "MX.example.org"
    assert authserv_id_of(email.message_from_string("To: x\n\n")) == ""
