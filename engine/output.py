"""The last look at a reply's text: a model's words are untrusted, whatever they were made from."""

import re
import unicodedata
from collections.abc import Iterable

_LABEL = r"(?:[^\[\]\\]|\\.)"
"""A character between brackets. None of these patterns looks beyond the next bracket: however many of them stand in a
text, it is read in linear time."""
_TARGET = r"\((?:[^()]++|\([^()]*+\))*+\)"
_IMAGE = re.compile(rf"!\[({_LABEL}*+)\](?:{_TARGET}|\[{_LABEL}*+\])?", re.DOTALL)
_LINK = re.compile(rf"\[({_LABEL}*+)\]({_TARGET})", re.DOTALL)
_DESTINATION = re.compile(r"\(\s*<?([^)\s>]*)")
_REFERENCE_LINK = re.compile(rf"\[({_LABEL}++)\]\[{_LABEL}*+\]", re.DOTALL)
_REFERENCE = re.compile(rf"^[ \t>]*\[{_LABEL}++\]:(?:[ \t]*\S+.*|[ \t]*\n[ \t>]*\S+[ \t]*)$", re.MULTILINE)
_LEFT_OPEN = re.compile(r"(?<=\])(?=[(\[])|(?<=!)(?=\[)|(?<=\])(?=:)")
"""Where a link or an image would go on that is none of those above."""
_MOST_NESTED = 8
_HTML_TAG = re.compile(r"</?[a-zA-Z][^<>]*>|<!--(?:(?!<!--|-->).)*+-->", re.DOTALL)
_OPEN_TAG = re.compile(r"<(?=[a-zA-Z/!?])")
"""A tag whose end is not in the text might find one in what is written behind it."""
_URL = re.compile(
    r"\b(?:[a-z][a-z0-9+.-]{1,15}://|www\.)[^\s<>()\[\]\"'`]+|\b(?:javascript|data|vbscript):[^\s)]+",
    re.IGNORECASE,
)
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_FENCE = re.compile(r"( {0,3})(?:(`{3,})[^`]*|(~{3,}).*)")
_CLOSING = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*")
_TICKS = re.compile(r"`+")
_UNCLOSED_TAG = re.compile(r"<[a-zA-Z/!?][^>]*$")
_TABLE = re.compile(r"^[ \t>|]*+:?-+:?[ \t]*(?:\||$)", re.MULTILINE)
_MOST_ROUNDS = 4
_BLANK_LINES = re.compile(r"\n{3,}")
_PLACE = "\x00"
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
    text = visible(text)
    for _ in range(_MOST_ROUNDS):
        # What is taken away can let code begin or end elsewhere: a text is clean when nothing more has to go.
        before = text
        # Every second part is code, where nothing is rendered: tags and brackets are what it is about.
        parts = _split_code(text)
        parts[::2] = [_clean_prose(part, allowed_urls) for part in parts[::2]]
        parts[1::2] = [_known_urls(part, allowed_urls) for part in parts[1::2]]
        if (text := "".join(parts)) == before:
            break
    else:
        text = _clean_prose(text.replace("`", "'").replace("~~~", ""), allowed_urls)
    return _BLANK_LINES.sub("\n\n", text).strip()


def _split_code(text: str) -> list[str]:
    """Split into prose and code in turn, prose first; what could be taken for prose by whoever shows it counts as such.

    Source: CommonMark 0.31, sections 4.5 and 6.1; GitHub Flavored Markdown, section 4.10.
    """
    parts: list[list[str]] = [[]]
    indent = fence = ""
    for line in _LINE.findall(text):
        if fence:
            parts[-1].append(line)
            closing = _CLOSING.fullmatch(line.rstrip("\n"))
            if closing and closing[1].startswith(fence):
                fence = ""
                parts.append([])
            elif not line.startswith(indent) and line.strip():
                # It may stand in a list, which ends here, and the code with it.
                break
        elif opening := _FENCE.fullmatch(line.rstrip("\n")):
            indent, fence = opening[1], opening[2] or opening[3]
            parts.append([line])
        else:
            parts[-1].append(line)
    whole = ["".join(lines) for lines in parts]
    if fence:
        # Nobody closed it; whether the text behind is code depends on what is written behind it.
        whole[-2:] = [text[sum(map(len, whole[:-2])) :]]
    return [
        piece
        for number, part in enumerate(whole)
        for piece in (_split_spans(part) if number % 2 == 0 else [part])
    ]


def _split_spans(prose: str) -> list[str]:
    """Split at code between as many backticks as there are at its beginning, within a line."""
    parts: list[list[str]] = [[]]
    is_sure = True
    has_table = bool(_TABLE.search(prose))
    for line in _LINE.findall(prose):
        if not line.strip():
            is_sure = True
        found, is_closed = _spans(line) if is_sure else ([line], False)
        is_unsure = (
            "\\`" in line
            or any(_UNCLOSED_TAG.search(part) for part in found[::2])
            or (has_table and any("|" in part for part in found[1::2]))
        )
        if is_unsure:
            found, is_closed = [line], False
        parts[-1].append(found[0])
        parts += [[piece] for piece in found[1:]]
        # What is open at its end may be closed in any line up to the next blank one.
        is_sure = is_sure and is_closed
    return ["".join(pieces) for pieces in parts]


def _spans(line: str) -> tuple[list[str], bool]:
    """Return prose and code in turn, and whether no backtick is left over."""
    runs = [match.span() for match in _TICKS.finditer(line)]
    last = {end - start: number for number, (start, end) in enumerate(runs)}
    parts, place, number, is_closed = [""], 0, 0, True
    while number < len(runs):
        start, end = runs[number]
        if last[end - start] == number:
            number, is_closed = number + 1, False
            continue
        closing = number + 1
        while runs[closing][1] - runs[closing][0] != end - start:
            closing += 1
        parts[-1] += line[place:start]
        parts += [line[start : runs[closing][1]], ""]
        place, number = runs[closing][1], closing + 1
    parts[-1] += line[place:]
    return parts, is_closed


def _clean_prose(text: str, allowed_urls: set[str]) -> str:
    """Take away first what stands between brackets and addresses: without it a link could come together."""
    text = _REFERENCE.sub("", _OPEN_TAG.sub("< ", _HTML_TAG.sub("", text)))
    text = _known_urls(text, allowed_urls)
    kept: list[str] = []
    for _ in range(_MOST_NESTED):
        before = text
        text = _IMAGE.sub(lambda match: match[1], text)
        text = _REFERENCE.sub("", text)
        text = _LINK.sub(lambda match: _kept_link(match, allowed_urls, kept), text)
        text = _REFERENCE_LINK.sub(lambda match: match[1], text)
        if text == before:
            break
    text = _LEFT_OPEN.sub(" ", text)
    return re.sub(f"{_PLACE}(\\d+){_PLACE}", lambda match: kept[int(match[1])], text)


def _kept_link(match: re.Match[str], allowed_urls: set[str], kept: list[str]) -> str:
    """Put a mark in the place of a link that stays: no control character is left in the text by now."""
    destination = _DESTINATION.match(match[2])
    if not destination or _bare(destination[1]) not in allowed_urls:
        return match[1]
    kept.append(f"[{match[1]}]({destination[1]})")
    return f"{_PLACE}{len(kept) - 1}{_PLACE}"


def _known_urls(text: str, allowed_urls: set[str]) -> str:
    return _URL.sub(lambda match: match.group() if _bare(match.group()) in allowed_urls else "", text)


def _bare(url: str) -> str:
    return url.rstrip(".,;:!?*_")


def _is_hidden(char: str) -> bool:
    return unicodedata.category(char) in {"Cc", "Cf", "Co", "Cs"}
