"""What gives access and what tells who somebody is does not get where it is kept."""

import pytest

from hub.redaction import is_card_number, without_personal_data, without_secrets

SECRETS = [
    "123456789:" + "A" * 35,
    "cc_live_abc_def",
    "AKIA" + "A1B2" * 4,
    "ghp_" + "a1" * 18,
    "github_pat_" + "a1" * 20,
    "glpat-" + "a1" * 10,
    "xoxb-1234567890-abc",
    "hf_" + "a" * 34,
    "sk_live_" + "a1" * 12,
    "sk-proj-" + "a1" * 12,
    "AIza" + "a" * 35,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdefghijk",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----",
    "4111 1111 1111 1111",
    "4111-1111-1111-1111",
    "5555555555554444",
    "3782 822463 10005",
    "6011111111111117",
    "4111\u00a01111\u00a01111\u00a01111",
    "4111.1111.1111.1111",
    "4111  1111  1111  1111",
    "4111\u20111111\u20111111\u20111111",
    "4000 0000 0000 0000 006",
    "npm_" + "a1B2" * 9,
    "pypi-" + "aB1_" * 20,
    "SG." + "a1" * 11 + "." + "b2" * 20,
    "xapp-1-A0B1C2D3-123",
    "ya29." + "aB1-" * 12,
    "-----BEGIN PGP PRIVATE KEY BLOCK-----\nabc\n-----END PGP PRIVATE KEY BLOCK-----",
    "2223003122003222",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_masked_wherever_it_stands(secret: str) -> None:
    """And nothing else of the text."""
    assert without_secrets(f"before {secret} after") == "before *** after"
    assert without_secrets(f"({secret})") == "(***)"


def test_the_rest_of_a_key_that_was_cut_off_is_masked() -> None:
    """Nobody can tell where it would have ended."""
    assert without_secrets("key: -----BEGIN PRIVATE KEY-----\nMIIEvQ\nabc") == "key: ***"


def test_passwords_in_addresses_and_headers_are_masked() -> None:
    """What is around them stays."""
    assert without_secrets("redis://user:pass@host/0") == "redis://***@host/0"
    assert without_secrets("redis://user:p@ss@host/0") == "redis://***@host/0"
    assert without_secrets("Authorization: Bearer abcdefgh12345678") == "Authorization: Bearer ***"
    assert without_secrets("basic dXNlcjpwYXNzd29yZA==") == "basic ***"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("password=hunter2", "password=***"),
        ("PGPASSWORD=hunter2 psql", "PGPASSWORD=*** psql"),
        ("GET /x?access_token=abcdefghijk&page=2", "GET /x?access_token=***&page=2"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG", "aws_secret_access_key = ***"),
        ('{"api_key": "abcdef123456789"}', '{"api_key": "***"}'),
        ("token: abc123def456", "token: ***"),
        ("card_4111111111111111", "card_***"),
    ],
)
def test_what_is_named_a_secret_is_masked(text: str, masked: str) -> None:
    """Whatever it looks like; its name stays."""
    assert without_secrets(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "1764449191234-0",
        "prompt_tokens=203 max_tokens: 1024",
        "unexpected token: identifier",
        "What is the password: policy?",
        "token=1234",
        "4006381333931",
        "490154203237518",
        "4764449191237",
        "sk-learn-is-a-library-for-python",
        "turn 1764449191234-12 took 12.5 ms",
        "4111111111111112",
        "4111 1111 1111 1112",
        "0000000000000000",
        "a1b2c3d4e5f60718293a4b5c6d7e8f90" * 2,
        "telegram-987654321-4111111111111111x",
        "2026-11-29T12:30:00.123456Z",
        "192.168.100.200:8080",
        "3.14159265358979323",
        "sha256:4111111111111111aa",
        "the sk-8 board, ghp_short and hf_ too",
    ],
)
def test_what_only_looks_like_a_secret_stays(text: str) -> None:
    """Ids, times, hashes and numbers that fail the check digit are what logs are read for."""
    assert without_secrets(text) == text


def test_the_check_digit_decides() -> None:
    """Every other last digit makes it another number."""
    assert [digit for digit in range(10) if is_card_number(f"411111111111111{digit}")] == [1]


def test_questions_are_kept_without_what_tells_who_asked() -> None:
    """Mail addresses, telephone numbers and bank accounts go; dates, amounts and versions stay."""
    asked = "I am bob@example.org, +49 (30) 1234-567 or 0171 2345678, IBAN DE89 3704 0044 0532 0130 00. Is 3.11 of 2026-11-29 ok?"

    assert without_personal_data(asked) == "I am ***, *** or ***, IBAN ***. Is 3.11 of 2026-11-29 ok?"
