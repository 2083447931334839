"""The texts of the widget by language and key, as its script holds them."""

import re

from connectors.web.pages import STATIC

_SOURCE = (STATIC / "texts.js").read_text("utf-8")

KEYS = re.findall(r'"(idle\|[^"]+)"', _SOURCE)[0].split("|")
TEXTS = {
    code: dict(zip(KEYS, line.split("|"), strict=True))
    for code, line in re.findall(r'^  (\w\w): "(.+)",$', _SOURCE, re.MULTILINE)
}
