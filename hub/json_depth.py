"""How deeply a JSON text is nested, told before it is parsed.

A parser that goes down until the stack ends takes the room from whatever the interpreter runs in between, such as the
finalizer of something else's connection.
"""

import re

_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)
"""A string that never ends goes to the end of the text: looked for again at each quotation mark it would take its square."""


def is_deeper_than(depth: int, text: str) -> bool:
    """Whether arrays and objects lie more than so deep in each other; text that is no JSON may be called either."""
    if text.count("[") + text.count("{") <= depth:
        return False
    level = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        mark = found[0]
        if mark in "[{":
            level += 1
            if level > depth:
                return True
        elif mark in "]}":
            level -= 1
    return False
