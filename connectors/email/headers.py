"""Header fields of hostile mail: read without ever raising, cut, decoded and stripped of line breaks."""

import codecs
import email.header
import email.utils
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.message import Message

MAX_VALUE_CHARS = 65_536
MAX_ADDRESSES = 100
MAX_REFERENCES = 20

# These turn innocent ASCII into markup or other text, or are no character sets at all.
_REFUSED_CODECS = frozenset(
    {"utf-7", "unicode_escape", "raw_unicode_escape", "raw-unicode-escape", "unicode-escape", "idna", "punycode",
     "undefined", "mbcs", "oem"}
)  # fmt: skip

_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,250}>")
_BREAKS = re.compile(r"[\r\n\0]+[ \t]*")
_ADDRESS = re.compile(r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


def raw_values(message: Message, name: str) -> list[str]:
    """Return all values of a header, each at most 64 KiB; 8-bit bytes are read as UTF-8, else Latin-1."""
    wanted = name.lower()
    return [_text(value) for key, value in message.raw_items() if key.lower() == wanted]


def first(message: Message, name: str) -> str:
    """Return the first value of a header on one line, or an empty string."""
    values = raw_values(message, name)
    return _BREAKS.sub(" ", values[0]).strip() if values else ""


def names(message: Message) -> set[str]:
    """Return the lower-case names of all header fields."""
    return {key.lower() for key, _ in message.raw_items()}


def decoded(value: str, limit: int = 1000) -> str:
    """Decode encoded words; the result is one line of at most `limit` characters."""
    cut = value[: limit * 8]
    try:
        chunks = email.header.decode_header(cut)
    except (ValueError, LookupError, email.errors.HeaderParseError):
        chunks = [(cut, None)]
    text = "".join(decode(chunk, charset) if isinstance(chunk, bytes) else chunk for chunk, charset in chunks)
    return " ".join(_BREAKS.sub(" ", text).split())[:limit]


def addresses(values: Iterable[str]) -> list[tuple[str, str]]:
    """Return (display name, address) pairs; unreadable ones are dropped, addresses are lower-case A-labels."""
    found: list[tuple[str, str]] = []
    for value in values:
        try:
            pairs = email.utils.getaddresses([_BREAKS.sub(" ", value)])
        except (RecursionError, ValueError, IndexError):
            continue
        for name, address in pairs:
            if plain := _plain_address(address):
                found.append((decoded(name, 200), plain))
    return found


def count_addresses(values: Iterable[str]) -> int:
    """Return roughly how many addresses these header values hold, cheaply."""
    return sum(value.count("@") for value in values)


def message_ids(values: Iterable[str]) -> list[str]:
    """Return the well-formed message ids, in order, each once, the last 20 of them."""
    found = dict.fromkeys(match for value in values for match in _MESSAGE_ID.findall(value))
    return list(found)[-MAX_REFERENCES:]


def date(message: Message) -> datetime | None:
    """Return the Date header as UTC, or None when it is missing or impossible."""
    try:
        parsed = email.utils.parsedate_to_datetime(first(message, "Date")[:200])
        return parsed.replace(tzinfo=parsed.tzinfo or UTC).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def decode(data: bytes, charset: str | None) -> str:
    """Turn bytes into text: as declared, else as UTF-8, else with replacement characters; never raises."""
    codec = _safe_codec(charset)
    for candidate in (codec, "utf-8"):
        if candidate:
            try:
                return data.decode(candidate)
            except (UnicodeError, LookupError, ValueError):
                continue
    fallback = codec if codec and codec != "ascii" else "cp1252"
    try:
        return data.decode(fallback, "replace")
    except (UnicodeError, LookupError, ValueError):
        return data.decode("latin-1")


def _safe_codec(charset: str | None) -> str | None:
    if not charset or len(charset) > 40:
        return None
    try:
        info = codecs.lookup(charset.strip().strip("\"'"))
    except (LookupError, ValueError):
        return None
    if info.name in _REFUSED_CODECS or not info._is_text_encoding:
        return None
    return info.name


def _text(value: object) -> str:
    # compat32 hands out 8-bit bytes as surrogates.
    text = str(value)[:MAX_VALUE_CHARS]
    if text.isascii():
        return text
    data = text.encode("utf-8", "surrogateescape")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _plain_address(address: str) -> str:
    local, at, domain = address.strip().rpartition("@")
    if not at:
        return ""
    try:
        domain = domain.encode("idna").decode() if not domain.isascii() else domain
    except UnicodeError:
        return ""
    plain = f"{local}@{domain}".lower()
    return plain if _ADDRESS.fullmatch(plain) else ""
