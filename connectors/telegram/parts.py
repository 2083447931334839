"""A reply as Telegram takes it: formatting as entities, cut into parts that fit one message each."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog
from aiogram.types import MessageEntity
from telegramify_markdown import convert
from telegramify_markdown.config import RenderConfig

from connectors.telegram.phrases import phrases
from hub.messages import OutboundMessage, Source
from hub.text import normalise

log = structlog.get_logger(__name__)

PART_LIMIT = 4096
"""UTF-16 code units after entities are parsed. Source: https://core.telegram.org/bots/api#sendmessage."""

LEAST_FILL = 1 / 3
"""A part is never filled less than this only to end at a nicer place."""


@dataclass(frozen=True, slots=True)
class Part:
    """The content of one Telegram message."""

    text: str
    entities: list[MessageEntity]


def render(message: OutboundMessage) -> list[Part]:
    """Return the parts of a reply, sources at the end; the same reply always gives the same parts."""
    text, entities = to_entities(message.text)
    if message.sources:
        heading = phrases(message.reply.get("language", "")).sources
        text = f"{text}\n\n{heading}:\n{source_list(message.sources)}".lstrip()
    return split(text, entities) or [Part("…", [])]


def source_list(sources: Iterable[Source]) -> str:
    """Return the sources as lines of plain text: `[1] title — heading (location)`."""
    lines = []
    for source in sources:
        heading = f" — {source.heading}" if source.heading and source.heading != source.title else ""
        location = f" ({source.location})" if source.location and source.location != source.title else ""
        lines.append(normalise(f"[{source.number}] {source.title}{heading}{location}").replace("\n", " "))
    return "\n".join(lines)


def to_entities(markdown: str) -> tuple[str, list[MessageEntity]]:
    """Turn Markdown into text and entities; where that fails, the Markdown itself is the text."""
    source = normalise(markdown)
    try:
        text, entities = convert(source, config=_sober_config())
    except Exception as error:  # a model can write anything; an answer without formatting is still an answer
        log.warning("markdown_not_converted", error=type(error).__name__)
        return source.strip(), []
    if not text.strip():
        return source.strip(), []
    return text, [MessageEntity(**entity.to_dict()) for entity in entities]


def split(text: str, entities: Sequence[MessageEntity], limit: int = PART_LIMIT) -> list[Part]:
    """Cut a text into parts of at most `limit` UTF-16 units.

    A part ends at a paragraph, else a line, else a word. A code block that fits into one part stays whole;
    a longer one is cut between lines and goes on as code in the next part, like every other entity.
    """
    units = _unit_offsets(text)
    code = [(e.offset, e.offset + e.length) for e in entities if e.type == "pre"]
    parts = []
    start = 0
    while start < len(text):
        end = _cut(text, units, code, start, limit)
        part = _part(text[start:end], units[start : end + 1], entities, code)
        if part.text.strip():
            parts.append(part)
        start = end
    return parts


def _cut(text: str, units: list[int], code: list[tuple[int, int]], start: int, limit: int) -> int:
    if units[-1] - units[start] <= limit:
        return len(text)
    end = bisect_right(units, units[start] + limit) - 1
    cut = _nice_end(text, start, end)
    for first, last in code:
        if first < units[cut] < last and last - first <= limit:
            before = bisect_right(units, first) - 1
            if text[start:before].strip():
                return before
    return cut


def _nice_end(text: str, start: int, end: int) -> int:
    least = start + max(int((end - start) * LEAST_FILL), 1)
    for mark in ("\n\n", "\n", " "):
        # One more than the part holds: the mark itself may fall away at the end.
        found = text.rfind(mark, least, end + 1)
        if found != -1:
            return min(found + len(mark), end)
    return end


def _part(
    text: str, units: list[int], entities: Sequence[MessageEntity], code: list[tuple[int, int]]
) -> Part:
    # Blank edges are cut here because Telegram cuts them too; only code keeps its indentation.
    in_code = any(first <= units[0] < last for first, last in code)
    content = text.lstrip("\n" if in_code else None)
    lead = len(text) - len(content)
    content = content.rstrip()
    low, high = units[lead], units[lead + len(content)]
    kept = []
    for entity in entities:
        first, last = max(entity.offset, low), min(entity.offset + entity.length, high)
        if first < last:
            kept.append(entity.model_copy(update={"offset": first - low, "length": last - first}))
    return Part(content, kept)


def _unit_offsets(text: str) -> list[int]:
    offsets = [0]
    for character in text:
        offsets.append(offsets[-1] + (2 if character > "\uffff" else 1))
    return offsets


def _sober_config() -> RenderConfig:
    # The library decorates headings and lists with pictures unless told otherwise.
    config = RenderConfig.isolated()
    symbol = config.markdown_symbol
    symbol.heading_level_1 = symbol.heading_level_2 = symbol.heading_level_3 = symbol.heading_level_4 = ""
    symbol.image = ""
    symbol.unordered_list_item = "•"
    return config
