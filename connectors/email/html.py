"""Text of an HTML body as a person would see it: nothing hidden, nothing loaded, history apart."""

import re

from inscriptis import get_text
from inscriptis.css_profiles import CSS_PROFILES
from inscriptis.model.config import ParserConfig
from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from connectors.email.styles import Look, declarations, is_removed

MAX_HTML_CHARS = 1_048_576
MAX_NODES = 200_000
MAX_RULES = 200
MAX_MATCHES = 50_000

_NEVER_SHOWN = (
    "script, style, head, template, noscript, iframe, object, embed, svg, math, canvas, audio, video, datalist, rp,"
    " dialog:not([open]), form input, [hidden]"
)
_HISTORY = "blockquote[type=cite], .gmail_quote, .moz-cite-prefix, .yahoo_quoted, .protonmail_quote, #isForwardContent"
_HISTORY_BELOW = "#appendonsend, #divRplyFwdMsg, #OLK_SRC_BODY_SECTION"
_SIGNATURE = ".gmail_signature, .moz-signature, #Signature"
_RULE = re.compile(r"([^{}]{1,300})\{([^{}]{0,2000})\}")
_MEDIA = re.compile(r"@media([^{}]{0,300})\{((?:[^{}]{0,2000}\{[^{}]{0,2000}\}){0,500})[^{}]{0,200}\}")
_EVERYWHERE = re.compile(r"\s*(only\s+)?(all|screen)(\s*,\s*(all|screen|print))*\s*")
_SOMETIMES = re.compile(r"::|:(hover|focus|active|visited|checked|target|before|after|link)")
_TELLING = re.compile(
    r"display|visib|opacity|color|background|font|height|width|overflow|position|indent|margin|transform|clip|mso-hide"
)
_LINK = {"color": "#0000ee"}
_META_CHARSET = re.compile(rb"<meta[^>]{0,300}charset\s*=\s*[\"']?\s*([a-z0-9_:.-]{1,40})", re.IGNORECASE)


def text_of(html: str) -> tuple[str, str]:
    """Return (visible text, text of the quoted history)."""
    tree = LexborHTMLParser(html[:MAX_HTML_CHARS])
    sheet = _Sheet(tree)
    _remove(tree.css(_NEVER_SHOWN))
    _remove_hidden(tree, sheet)
    history = _take_history(tree)
    _remove(tree.css(_SIGNATURE))
    visible = _render(tree)
    if not visible.strip() and history:
        # Nothing was added to the history: a forwarded mail, or an answer written inside the quotation.
        return history, ""
    return visible, history


def charset_of(data: bytes) -> str | None:
    """Return the character set that a document claims in its own head."""
    match = _META_CHARSET.search(data[:4096])
    name = match[1].decode("ascii").lower() if match is not None else ""
    # Nobody who could read this far was reading UTF-16. Source: HTML standard, 13.2.3.2.
    return name if name and not name.startswith(("utf-16", "utf-32", "ucs")) else None


class _Sheet:
    """Which declarations of the mail's own style sheets meet which element."""

    def __init__(self, tree: LexborHTMLParser) -> None:
        self._plain: dict[int, dict[str, str]] = {}
        self._important: dict[int, dict[str, str]] = {}
        left = MAX_MATCHES
        for selector, body in _rules(tree):
            if left <= 0:
                break
            try:
                nodes = tree.css(selector)[:left]
            except (SelectolaxError, ValueError, RuntimeError):
                continue
            left -= len(nodes)
            target = self._important if "!important" in body else self._plain
            style = declarations(body)
            for node in nodes:
                target[node.mem_id] = target.get(node.mem_id, {}) | style

    def style_of(self, node: LexborNode) -> dict[str, str]:
        """Return all that is declared for an element, attributes of old HTML among it."""
        attributes = node.attributes
        style = dict(_LINK) if node.tag == "a" and "href" in attributes else {}
        for attribute, name in (("bgcolor", "background-color"), ("text", "color"), ("color", "color")):
            if value := attributes.get(attribute):
                style[name] = value.strip().lower()
        if "background" in attributes:
            style["background-image"] = "url()"
        style |= self._plain.get(node.mem_id, {})
        if inline := attributes.get("style"):
            style |= declarations(inline)
        return style | self._important.get(node.mem_id, {})


def _rules(tree: LexborHTMLParser) -> list[tuple[str, str]]:
    sheets = " ".join(node.text() for node in tree.css("style"))[:100_000]
    first, *others = re.sub("<!--|-->", " ", sheets).split("/*")
    sheets = " ".join([first, *(other.partition("*/")[2] for other in others)])
    # Rules for small screens hide what a large one shows.
    sheets = _MEDIA.sub(lambda media: media[2] if _EVERYWHERE.fullmatch(media[1]) else " ", sheets)
    found = [(selector.strip(), body) for selector, body in _RULE.findall(sheets)]
    telling = [
        rule for rule in found if _TELLING.search(rule[1].lower()) and not _SOMETIMES.search(rule[0].lower())
    ]
    return telling[:MAX_RULES]


def _remove_hidden(tree: LexborHTMLParser, sheet: _Sheet) -> None:
    """Take out what a person would not see; each node is looked at once, with the look it inherits."""
    hidden: list[LexborNode] = []
    stack: list[tuple[LexborNode, Look]] = [(tree.root, Look())] if tree.root is not None else []
    seen = 0
    while stack:
        node, look = stack.pop()
        seen += 1
        if node.is_text_node:
            if not look.shows:
                hidden.append(node)
            continue
        if not node.is_element_node:
            continue
        style = sheet.style_of(node)
        if is_removed(style) or seen > MAX_NODES:
            # The root itself cannot be taken out.
            hidden += [node] if node.tag != "html" else [tree.body] if tree.body is not None else []
            continue
        look, child = look.within(style) if style else look, node.first_child
        while child is not None:
            stack.append((child, look))
            child = child.next
    _remove(hidden)


def _take_history(tree: LexborHTMLParser) -> str:
    pieces: list[str] = []
    for node in tree.css(_HISTORY):
        pieces.append(node.html or "")
        node.decompose()
    for node in tree.css(_HISTORY_BELOW):
        below = node.next
        while below is not None:
            following = below.next
            pieces.append(below.html or "")
            below.decompose()
            below = following
        pieces.append(node.html or "")
        node.decompose()
    return _render(LexborHTMLParser("".join(pieces))) if pieces else ""


def _render(tree: LexborHTMLParser) -> str:
    config = ParserConfig(css=CSS_PROFILES["strict"], display_links=False, display_images=False)
    try:
        text = get_text(tree.html or "", config)
    except (RecursionError, ValueError, AssertionError):
        text = ""
    # inscriptis gives nothing for 5,000 nested elements.
    if not text.strip() and tree.body is not None:
        text = tree.body.text(separator="\n")
    return "\n".join(line.rstrip() for line in text.splitlines()).strip()


def _remove(nodes: list[LexborNode]) -> None:
    for node in nodes:
        node.decompose()
