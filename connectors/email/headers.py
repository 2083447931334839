"""Header fields of hostile mail: read without ever raising, cut, decoded and stripped of line breaks."""

import codecs
import email.header
import email.utils
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.message import Message

MAX_VALUE_CHARS = 65_536
MAX_LINE_CHARS = 500
MAX_ADDRESSES = 100
MAX_REFERENCES = 20

# These turn innocent ASCII into markup or other text, or are no character sets at all.
_REFUSED_CODECS = frozenset(
    {"utf-7", "unicode_escape", "raw_unicode_escape", "raw-unicode-escape", "unicode-escape", "idna", "punycode",
     "undefined", "mbcs", "oem"}
)  # fmt: skip

# What mail calls by one name and writes in a larger set. Source: Encoding standard, section 4.2.
_SUPERSETS = {
    "iso8859-1": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874", "tis-620": "cp874", "gb2312": "gb18030",
    "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "big5hkscs",
}  # fmt: skip
_ALIASES = {
    "x-sjis": "cp932", "x-gbk": "gb18030", "x-euc-jp": "euc_jp", "x-windows-949": "cp949", "windows-874": "cp874",
    "ansi": "cp1252", "ansi_x3.110-1983": "cp1252", "unicode-1-1-utf-8": "utf-8", "utf8mb4": "utf-8", "iso-8859-8-i": "iso8859_8",
    "iso-8859-8-e": "iso8859_8", "x-mac-roman": "mac_roman", "x-mac-cyrillic": "mac_cyrillic", "cp-850": "cp850",
}  # fmt: skip
_UNDECLARED = [
    "koi8_r", "cp1251", "cp866", "iso8859_5", "gb18030", "big5", "shift_jis", "euc_jp", "euc_kr", "cp1256", "cp1255",
    "iso8859_7", "cp874",
]  # fmt: skip
GUESSED_FROM_BYTES = 2_000

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
    """Return the well-formed message ids, in order, each once, at most 20."""
    return capped([match for value in values for match in _MESSAGE_ID.findall(value)])


def capped(ids: Iterable[str]) -> list[str]:
    """Return each id once; of more than 20 the first one, which began the thread, and the newest."""
    found = list(dict.fromkeys(ids))
    return found if len(found) <= MAX_REFERENCES else [found[0], *found[-(MAX_REFERENCES - 1) :]]


def one_line(value: str) -> str:
    """Return what may stand in a header: no line breaks, no controls, at most 500 characters."""
    printable = "".join(c if c.isprintable() else " " for c in value)
    return " ".join(printable.split())[:MAX_LINE_CHARS]


def date(message: Message) -> datetime | None:
    """Return the Date header as UTC, or None when it is missing or impossible."""
    try:
        parsed = email.utils.parsedate_to_datetime(first(message, "Date")[:200])
        return parsed.replace(tzinfo=parsed.tzinfo or UTC).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def decode(data: bytes, charset: str | None) -> str:
    """Turn bytes into text: as declared, else as UTF-8, else guessed, else with replacement characters; never raises."""
    codec = _safe_codec(charset)
    for candidate in (codec, "utf-8"):
        if candidate:
            try:
                return data.decode(candidate)
            except (UnicodeError, LookupError, ValueError):
                continue
    fallback = codec if codec and codec != "ascii" else _guessed(data) or "cp1252"
    try:
        return data.decode(fallback, "replace")
    except (UnicodeError, LookupError, ValueError):
        return data.decode("latin-1")


def _guessed(data: bytes) -> str:
    """Return the likely character set of text in a script that needs more than ASCII for most of its letters."""
    start = data[:GUESSED_FROM_BYTES]
    high = sum(byte > 127 for byte in start)
    if high < 20 or high < 0.3 * len(start):
        return ""
    from charset_normalizer import from_bytes  # noqa: PLC0415 - seldom needed

    found = list(from_bytes(start, cp_isolation=_UNDECLARED))
    if not found:
        return ""
    # Of those that look as good as the best: KOI8-R read as Windows-1251 is the same letters in the other case.
    best = [one for one in found if (one.chaos, one.coherence) == (found[0].chaos, found[0].coherence)]
    return max(best, key=lambda one: sum(letter.islower() for letter in str(one))).encoding


def _safe_codec(charset: str | None) -> str | None:
    if not charset or len(charset) > 40:
        return None
    name = charset.strip().strip("\"'").lower()
    try:
        info = codecs.lookup(_ALIASES.get(name, name))
    except (LookupError, ValueError):
        return None
    if info.name in _REFUSED_CODECS or not info._is_text_encoding:
        return None
    return _SUPERSETS.get(info.name, info.name)


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
