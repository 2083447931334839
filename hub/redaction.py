"""Secrets and personal data taken out of texts that are kept or shown elsewhere: logs, and questions nobody answered."""

import re
from collections.abc import Iterable
from urllib.parse import unquote

MASK = "***"
LEAST_CHARS = 8
"""Of a secret of the settings that is masked as such."""

_PASSWORD = re.compile(r"://[^/\s:@]*:(.+)@")
_SECRETS = re.compile(
    r"(?<!\d)\d{6,12}:[A-Za-z0-9_-]{30,}"  # a Telegram bot token, in URLs right behind "bot"
    r"|\bcc_live_[A-Za-z0-9_-]+"  # an API key of the hub
    r"|(?<=://)[^/\s:@]*:[^/\s]+(?=@)"  # user and password in a URL, to the last sign: it may stand in a password
    r"|\b(?:AKIA|ASIA|AROA|AIDA)[0-9A-Z]{16}\b"  # Amazon
    r"|\bgh[pousr]_[A-Za-z0-9]{30,}\b|\bgithub_pat_[A-Za-z0-9_]{22,}"
    r"|\bglpat-[A-Za-z0-9_-]{20,}|\bxox[abeoprs]-[A-Za-z0-9-]{10,}|\bAIza[0-9A-Za-z_-]{35}"
    r"|\bhf_[A-Za-z0-9]{30,}\b|\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}\b|\bsk-(?=[A-Za-z_-]{0,40}\d)[A-Za-z0-9_-]{20,}"
    r"|\bnpm_[A-Za-z0-9]{30,}|\bpypi-[A-Za-z0-9_-]{40,}|\bSG\.[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{30,}|\bdop_v1_[a-f0-9]{40,}"
    r"|\bxapp-[A-Za-z0-9-]{10,}|\bwhsec_[A-Za-z0-9+/=]{20,}|\bya29\.[A-Za-z0-9_-]{20,}|\bAGE-SECRET-KEY-1[A-Z0-9]{40,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"  # a JSON Web Token. Source: RFC 7519
    r"|(?<=bearer )[A-Za-z0-9._~+/=-]{16,}|(?<=basic )[A-Za-z0-9+/=]{16,}"  # Source: RFC 6750, RFC 7617
    r"|-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----(?:.*?-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|.*)",  # Source: RFC 7468
    re.IGNORECASE | re.DOTALL,
)
_NAMED = re.compile(
    r"(?P<name>passw(?:or)?d|pwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|session)(?P<sign>[\"']?\s?[=:]\s?[\"']?)"
    r"(?P<value>[^\s&\"',;()]{4,})",
    re.IGNORECASE,
)
"""A value with its name; whether it is secret `_without_named` decides."""
_GAP = "[ \u00a0\u202f.\\-\u2010-\u2013]"
_CARD = re.compile(
    rf"(?<![A-Za-z0-9.-])(?:\d{{4}}({_GAP}{{1,2}})\d{{4}}\1\d{{4}}\1\d{{1,7}}(?:\1\d{{1,3}})?|3\d{{3}}({_GAP})\d{{6}}\2\d{{4,5}}|\d{{13,19}})"
    r"(?![\w-]|\.\d)"
)
_ISSUED = {
    14: ("30", "36", "38", "39"),
    15: ("34", "37"),
    16: ("2", "3", "4", "5", "6"),
    17: ("5", "6"),
    18: ("5", "6"),
    19: ("4", "5", "6"),
}
"""What card numbers begin with, by their length: other numbers of these lengths are ids and times."""
_MAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_PHONE = re.compile(
    r"(?<![\w.])(?:\+|00)\d(?:[ ()/.-]{0,2}\d){6,14}(?!\w)|(?<![\w.-])0\d{2,4}[ /-]\d(?:[ -]?\d){4,9}(?![\w-])"
)
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b")


class _Known:
    """The secrets of this process's own settings, which need not look like secrets."""

    pattern: re.Pattern[str] | None = None


def know_secrets(secrets: Iterable[str]) -> None:
    """Mask these in every text from now on, and what is a password in an address among them.

    Shorter ones than `LEAST_CHARS` are left out: they would be found within ordinary words.
    """
    words = set()
    for secret in secrets:
        words |= {secret, unquote(secret)}
        if found := _PASSWORD.search(secret):
            words |= {found[1], unquote(found[1])}
    long = sorted((word for word in words if len(word) >= LEAST_CHARS), key=len, reverse=True)
    _Known.pattern = re.compile("|".join(map(re.escape, long))) if long else None


def without_secrets(text: str) -> str:
    """Mask what gives access: this hub's own secrets, keys, tokens, passwords in addresses, card numbers."""
    if _Known.pattern:
        text = _Known.pattern.sub(MASK, text)
    text = _NAMED.sub(_without_named, _SECRETS.sub(MASK, text))
    return _CARD.sub(lambda found: MASK if is_card_number(found.group()) else found.group(), text)


def _without_named(found: re.Match[str]) -> str:
    name, sign, value = found["name"].lower(), found["sign"], found["value"]
    # "The password: policy" and "unexpected token: identifier" are words; what is assigned is none.
    is_assigned = "=" in sign and not value.isdecimal()
    has_digit = len(value) >= 8 and any(map(str.isdecimal, value)) and not value.isdecimal()
    is_password = name.startswith(("passw", "pwd", "passphrase"))
    is_secret = (
        has_digit or (is_password and (is_assigned or "=" in sign)) or (is_assigned and len(value) >= 8)
    )
    return f"{found['name']}{sign}{MASK}" if is_secret and value != MASK else found.group()


def without_personal_data(text: str) -> str:
    """Mask secrets, and by which a person could be reached: mail addresses, telephone numbers, bank accounts."""
    for pattern in (_MAIL, _IBAN):
        text = pattern.sub(MASK, text)
    return _PHONE.sub(MASK, without_secrets(text))


def is_card_number(text: str) -> bool:
    """Tell whether digits, blanks and hyphens are the number of a payment card.

    Source: ISO/IEC 7812-1, major industry identifiers 2 to 6, and the check digit of annex B.
    """
    digits = [int(char) for char in text if char.isdecimal()]
    if not "".join(map(str, digits)).startswith(_ISSUED.get(len(digits), ())):
        return False
    doubled = [digit * 2 - 9 if digit > 4 else digit * 2 for digit in digits[-2::-2]]
    return len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
