"""Text of an HTML body as a person would see it: nothing hidden, nothing loaded, history apart."""

import re

from inscriptis import get_text
from inscriptis.css_profiles import CSS_PROFILES
from inscriptis.model.config import ParserConfig
from selectolax.lexbor import LexborHTMLParser, LexborNode

MAX_HTML_CHARS = 1_048_576

_NEVER_SHOWN = (
    "script, style, head, template, noscript, iframe, object, embed, svg, math, form input, [hidden]"
)
_HISTORY = "blockquote[type=cite], .gmail_quote, .moz-cite-prefix, .yahoo_quoted, .protonmail_quote, #isForwardContent"
_HISTORY_BELOW = "#appendonsend, #divRplyFwdMsg, #OLK_SRC_BODY_SECTION"
_SIGNATURE = ".gmail_signature, .moz-signature, #Signature"
_HIDING = re.compile(
    r"display:none|visibility:hidden|opacity:0(\.0+)?(;|$|!)|font-size:0(\.\d+)?(px|pt|em|rem|%)?(;|$|!)"
    r"|(max-)?(height|width):0(px)?(;|$|!)|mso-hide:all|text-indent:-\d{3,}|left:-\d{3,}"
)
_WHITE = re.compile(r"(^|;)color:(#fff(fff)?\b|white\b|rgb\(255,255,255\)|transparent\b)")
_RULE = re.compile(r"([^{}]{1,300})\{([^{}]{0,2000})\}")


def text_of(html: str) -> tuple[str, str]:
    """Return (visible text, text of the quoted history)."""
    tree = LexborHTMLParser(html[:MAX_HTML_CHARS])
    _remove_by_stylesheet(tree)
    _remove(tree.css(_NEVER_SHOWN))
    for node in tree.css("[style]"):
        if _is_hidden(node):
            node.decompose()
    history = _take_history(tree)
    _remove(tree.css(_SIGNATURE))
    visible = _render(tree)
    if not visible.strip() and history:
        # Nothing was added to the history: a forwarded mail, or an answer written inside the quotation.
        return history, ""
    return visible, history


def _remove_by_stylesheet(tree: LexborHTMLParser) -> None:
    sheets = " ".join(node.text() for node in tree.css("style"))[:100_000]
    # Rules for small screens hide what a large one shows.
    sheets = re.sub(r"@media[^{]{0,300}\{(?:[^{}]{0,2000}\{[^{}]{0,2000}\}){0,500}[^{}]{0,200}\}", "", sheets)
    for selector, body in _RULE.findall(sheets)[:500]:
        if _HIDING.search(_compact(body)):
            try:
                _remove(tree.css(selector.strip()))
            except (ValueError, RuntimeError):
                continue


def _is_hidden(node: LexborNode) -> bool:
    style = _compact(node.attributes.get("style") or "")
    if _HIDING.search(style):
        return True
    return bool(_WHITE.search(style)) and not _has_background(node)


def _has_background(node: LexborNode) -> bool:
    current: LexborNode | None = node
    for _ in range(50):
        if current is None:
            return False
        if "background" in (current.attributes.get("style") or "") or "bgcolor" in current.attributes:
            return True
        current = current.parent
    return False


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


def _compact(style: str) -> str:
    return re.sub(r"\s+", "", style).lower()
