"""Text from outside made harmless: what every connector does to a message before it is published."""

import re
import unicodedata

_LANGUAGE_TAG = re.compile("[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}")

_LINE_ENDS = re.compile("\r\n|[\r\x85\u2028\u2029]")

# Invisible to a person, visible to a model: NUL and the other controls but tab and newline, soft hyphen, bidi
# overrides and isolates, zero-width and invisible operators, interlinear marks, noncharacters, tag characters
# and supplementary variation selectors.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufdd0-\ufdef\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U000e0000-\U000e0fff]"
)

# Joiners hold emoji and several scripts together; they stay only between two characters beyond Latin-1.
_STRAY_JOINER = re.compile(
    "(?<![^\x00-\xff\u200c\u200d])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\xff\u200c\u200d])"
)

MAX_COMBINING = 30
"""Longest run of combining marks kept. Source: UAX #15, Stream-Safe Text Format.

Longer runs make normalisation quadratic and pages unreadable."""
_UNSAFE_IN_NAMES = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f]+')


def normalise(text: str) -> str:
    """Return the text as NFC without characters that a person cannot see.

    Line ends become newlines, lone surrogates U+FFFD. Repeating it changes nothing.
    """
    if text.isascii():
        return _INVISIBLE.sub("", _LINE_ENDS.sub("\n", text))
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    text = _INVISIBLE.sub("", _LINE_ENDS.sub("\n", text))
    text = _STRAY_JOINER.sub("", text)
    return _limit_combining(unicodedata.normalize("NFC", _limit_combining(text)))


def canonical_address(address: str) -> str:
    """Return the mailbox that a mail address belongs to: lower case, without a `+tag`."""
    local, _, domain = address.lower().rpartition("@")
    return f"{local.partition('+')[0]}@{domain}"


def without_unsafe(name: str) -> str:
    """Replace what some file system gives a meaning to, in the name of a file that somebody sent."""
    return _UNSAFE_IN_NAMES.sub("_", name)


def language_tag(text: str) -> str:
    """Return a language tag as BCP 47 writes it; empty when the text is none."""
    return text if _LANGUAGE_TAG.fullmatch(text) else ""


def _limit_combining(text: str) -> str:
    kept = []
    run = 0
    for character in text:
        run = run + 1 if unicodedata.combining(character) else 0
        if run <= MAX_COMBINING:
            kept.append(character)
    return text if len(kept) == len(text) else "".join(kept)
