"""The last look at a reply's text: a model's words are untrusted, whatever they were made from."""

import re
import unicodedata
from collections.abc import Iterable

_IMAGE = re.compile(r"!\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])?")
_LINK = re.compile(r"\[([^\]]*)\]\(\s*<?([^)\s>]*)>?[^)]*\)")
_REFERENCE_LINK = re.compile(r"\[([^\]]+)\]\[[^\]]*\]")
_REFERENCE = re.compile(r"^[ \t]*\[[^\]]+\]:[ \t]*\S+.*$", re.MULTILINE)
_HTML_TAG = re.compile(r"</?[a-zA-Z][^<>]*>|<!--.*?-->", re.DOTALL)
_OPEN_TAG = re.compile(r"<(?=[a-zA-Z/!])")
"""A tag whose end is not in the text might find one in what is written behind it."""
_URL = re.compile(
    r"\b(?:[a-z][a-z0-9+.-]{1,15}://|www\.)[^\s<>()\[\]\"'`]+|\b(?:javascript|data|vbscript):[^\s)]+",
    re.IGNORECASE,
)
_CODE = re.compile(r"(^```.*?^```|^~~~.*?^~~~|`[^`\n]+`)", re.DOTALL | re.MULTILINE)
_BLANK_LINES = re.compile(r"\n{3,}")
_JOINERS = {"\u200c", "\u200d"}
"""Zero-width joiners shape Indic and Persian letters and emoji: they stay."""


def visible(text: str) -> str:
    """Remove characters that show nothing: controls, bidirectional overrides, tags, zero-width spaces."""
    return "".join(char for char in text if char in "\n\t" or char in _JOINERS or not _is_hidden(char))


def urls(texts: Iterable[str]) -> set[str]:
    """Collect the addresses that occur in trusted places of a turn: its passages."""
    return {_bare(match.group()) for text in texts for match in _URL.finditer(text)}


def clean_output(text: str, allowed_urls: set[str]) -> str:
    """Make a reply safe to show as Markdown.

    Images, HTML and reference definitions go; a link stays only where its very address stands in the passages
    of this turn, so that a reply can carry nothing out in an address made up by the model.
    """
    # Every second part is code, where nothing is rendered: tags and brackets are what it is about.
    parts = _CODE.split(visible(text))
    parts[::2] = [_clean_prose(part, allowed_urls) for part in parts[::2]]
    text = _URL.sub(
        lambda match: match.group() if _bare(match.group()) in allowed_urls else "", "".join(parts)
    )
    return _BLANK_LINES.sub("\n\n", text).strip()


def _clean_prose(text: str, allowed_urls: set[str]) -> str:
    text = _IMAGE.sub(lambda match: match.group(1), text)
    text = _REFERENCE.sub("", text)
    text = _LINK.sub(lambda match: _kept_link(match, allowed_urls), text)
    text = _REFERENCE_LINK.sub(lambda match: match.group(1), text)
    return _OPEN_TAG.sub("< ", _HTML_TAG.sub("", text))


def _kept_link(match: re.Match[str], allowed_urls: set[str]) -> str:
    return match.group() if _bare(match.group(2)) in allowed_urls else match.group(1)


def _bare(url: str) -> str:
    return url.rstrip(".,;:!?*_")


def _is_hidden(char: str) -> bool:
    return unicodedata.category(char) in {"Cc", "Cf", "Co", "Cs"}
