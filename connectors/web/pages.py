"""What the channel serves besides the socket: the widget as one script, and the page that shows it."""

import gzip
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from aiohttp import ETag, web

STATIC = Path(__file__).parent / "static"

WIDGET_PARTS = (
    "icons.js",
    "markdown.js",
    "parts.js",
    "store.js",
    "visitor.js",
    "socket.js",
    "conversation.js",
    "reveal.js",
    "files.js",
    "offer.js",
    "answers.js",
    "view.js",
    # Below the code, which is alike: what compresses the one would be forgotten over the other.
    "texts.js",
    "widget.js",
)
"""Files the widget is made of, in this order."""

PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; "
        "require-trusted-types-for 'script'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

WIDGET_HEADERS = {
    # Pages of other origins load the script, also those that ask for isolation (COEP).
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
}


class Asset:
    """A file in memory, plain and compressed, that a browser asks for again by its ETag."""

    def __init__(self, body: str, media_type: str, headers: Mapping[str, str]) -> None:
        self.body = body.encode()
        # mtime 0: every process compresses to the same bytes.
        self.compressed = gzip.compress(self.body, mtime=0)
        self._media_type = media_type
        self._headers = headers
        self._tag = hashlib.sha256(self.body).hexdigest()[:32]

    async def serve(self, request: web.Request) -> web.Response:
        """Answer with the file, or with 304 when the browser has it."""
        is_zipped = "gzip" in request.headers.get("Accept-Encoding", "")
        tag = f"{self._tag}-gz" if is_zipped else self._tag
        headers = {**self._headers, "Cache-Control": "public, max-age=300", "Vary": "Accept-Encoding"}
        if request.if_none_match and any(known.value in (tag, "*") for known in request.if_none_match):
            response = web.Response(status=304, headers=headers)
        else:
            response = web.Response(
                body=self.compressed if is_zipped else self.body,
                content_type=self._media_type,
                charset="utf-8",
                headers=headers | ({"Content-Encoding": "gzip"} if is_zipped else {}),
            )
        response.etag = ETag(tag)
        return response


def widget_script(*, title: str, greeting: str) -> str:
    """Put the widget together: one script in one scope, its styles as a string inside."""
    styles = (STATIC / "widget.css").read_text("utf-8")
    styles = re.sub(r"\s+", " ", re.sub(r"/\*.*?\*/", "", styles, flags=re.DOTALL))
    styles = re.sub(r" ?([{};]) ?", r"\1", styles).replace(";}", "}")
    constants = {"STYLES": styles, "TITLE": title, "GREETING": greeting}
    lines = [f"const {name} = {json.dumps(value)};" for name, value in constants.items()]
    parts = [_without_comments((STATIC / name).read_text("utf-8")) for name in WIDGET_PARTS]
    return "\n".join(["(() => {", '"use strict";', *lines, *parts, "})();", ""])


def _without_comments(script: str) -> str:
    """Leave out what only readers of the source need: indents, empty lines, and comments that end a line."""
    lines = (re.sub(r"(?<=[;{}(,]) // .*", "", line.strip()) for line in script.split("\n"))
    return "\n".join(line for line in lines if line and not line.startswith("// "))


def page_assets() -> dict[str, Asset]:
    """Return the files of the demo page by their path."""
    files = {
        "/": ("demo.html", "text/html"),
        "/assets/demo.css": ("demo.css", "text/css"),
        "/assets/demo.js": ("demo.js", "text/javascript"),
        "/assets/logo.svg": ("logo.svg", "image/svg+xml"),
    }
    return {
        path: Asset((STATIC / name).read_text("utf-8"), media_type, PAGE_HEADERS)
        for path, (name, media_type) in files.items()
    }
