"""The text of a reply, once plain and once as HTML: greeting, answer, sources, the quoted question, footer."""

import html
import re
from datetime import datetime
from email.utils import parsedate_to_datetime

import nh3
from markdown_it import MarkdownIt

from connectors.email.headers import one_line
from connectors.email.phrases import PHRASES, RIGHT_TO_LEFT, Phrases, known
from hub.messages import OutboundMessage, Source

MAX_QUOTED_CHARS = 4_000

_IMAGE = re.compile(r"!\[([^\]]{0,500})\]\([^)]{0,2000}\)|!\[([^\]]{0,500})\](\[[^\]]{0,200}\])?")
_GREETABLE = re.compile(r"[^\W\d_][\w .'’-]{0,39}")

_TAGS = {"p", "br", "strong", "em", "code", "pre", "ul", "ol", "li", "blockquote", "a", "hr", "s"}
_TAGS |= {"table", "thead", "tbody", "tr", "th", "td", *(f"h{level}" for level in range(1, 7))}

_PAGE = "font: 15px/1.5 system-ui, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif; max-width: 44em"
_ASIDE = "color: #666; font-size: 13px"
_QUOTE = "margin: 0; padding-left: 12px; border-left: 3px solid #ddd; color: #666"


class Body:
    """Both versions of one reply.

    Args:
        sender: display name of the account that answers.
    """

    def __init__(self, message: OutboundMessage, sender: str) -> None:
        self._message = message
        self._language = known(message.reply.get("language", ""))
        self._says = PHRASES[self._language]
        self._answer = without_images(message.text).strip()
        self._greeting = _greeting(message.reply.get("name", ""), self._says)
        self._attribution = _attribution(message.reply.get("date", ""), self._says)
        self._quoted = _shortened(message.question.strip())
        self._footer = self._says.footer.format(name=one_line(sender))
        if not message.reply.get("notice"):
            self._footer += f"\n{self._says.how_to_stop}"

    @property
    def language(self) -> str:
        """Tag of the language that all but the answer is written in."""
        return self._language

    def plain(self) -> str:
        """Return the version for programs without HTML; the answer stays Markdown, which people can read."""
        blocks = [self._greeting, self._answer]
        if sources := self._message.sources:
            blocks.append(f"{self._says.sources}:\n" + "\n".join(map(_source_line, sources)))
        if self._quoted:
            lines = (f"> {line}".rstrip() for line in self._quoted.split("\n"))
            blocks.append(f"{self._attribution}\n" + "\n".join(lines))
        blocks.append(f"-- \n{self._footer}")
        return "\n\n".join(blocks) + "\n"

    def rich(self) -> str:
        """Return the HTML version; nothing in it runs, loads or hides."""
        blocks = [self._paragraph(self._greeting), f'<div dir="auto">{_html_of(self._answer)}</div>']
        if sources := self._message.sources:
            items = "".join(f'<li value="{s.number}">{_source_html(s)}</li>' for s in sources)
            blocks.append(self._paragraph(self._says.sources, _ASIDE))
            blocks.append(f'<ol style="{_ASIDE}">{items}</ol>')
        if self._quoted:
            inner = html.escape(self._quoted).replace("\n", "<br>")
            blocks.append(self._paragraph(self._attribution, _ASIDE))
            blocks.append(f'<blockquote type="cite" dir="auto" style="{_QUOTE}">{inner}</blockquote>')
        blocks.append(self._paragraph(self._footer, _ASIDE))
        # Mail programs ignore style sheets, so each element carries its own.
        begin = f'<!doctype html><html lang="{self._language}"><body style="{_PAGE}">'
        return begin + "\n".join(blocks) + "</body></html>\n"

    def _paragraph(self, text: str, style: str = "") -> str:
        direction = ' dir="rtl"' if self._language in RIGHT_TO_LEFT else ""
        look = f' style="{style}"' if style else ""
        return f"<p{direction}{look}>{html.escape(text).replace(chr(10), '<br>')}</p>"


def without_images(markdown: str) -> str:
    """Replace images by their description: a picture's address can carry text to a stranger's server."""
    return _IMAGE.sub(lambda found: found[1] or found[2] or "", markdown)


def _html_of(markdown: str) -> str:
    renderer = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    return nh3.clean(
        renderer.render(markdown),
        tags=_TAGS,
        attributes={"a": {"href"}},
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
    )


def _greeting(name: str, says: Phrases) -> str:
    name = one_line(name)
    # A name that carries a link, or a sentence, is not repeated.
    return says.hello_name.format(name=name) if _GREETABLE.fullmatch(name) else says.hello


def _attribution(date: str, says: Phrases) -> str:
    sent_at = _date(date)
    # Numbers read the same in every language.
    return says.wrote_at.format(date=f"{sent_at:%Y-%m-%d %H:%M}") if sent_at else says.wrote


def _date(value: str) -> datetime | None:
    try:
        return parsedate_to_datetime(one_line(value))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_QUOTED_CHARS else text[:MAX_QUOTED_CHARS].rstrip() + "\n[...]"


def _source_line(source: Source) -> str:
    heading = f", {one_line(source.heading)}" if source.heading else ""
    where = f"{one_line(source.title)}{heading} ({one_line(source.location)})"
    return f'[{source.number}] {where}\n    "{one_line(source.quote)}"'


def _source_html(source: Source) -> str:
    heading = f", {html.escape(one_line(source.heading))}" if source.heading else ""
    title, location = html.escape(one_line(source.title)), html.escape(one_line(source.location))
    return f"{title}{heading} ({location})<br><em>{html.escape(one_line(source.quote))}</em>"
