"""What the account's own mail server found out about the sender, read from Authentication-Results.

Source: RFC 8601. Anybody can write this header: only the topmost counts, and only under the name of the own server,
which puts its own on top and takes those with its name away that were there before (sections 5 and 7.1).
"""

import re
from email.message import Message
from typing import Literal

from connectors.email import headers

Dmarc = Literal["", "pass", "fail", "none"]

_RESULT = re.compile(r"\s*(dmarc|spf|dkim)\s*(?:/\s*\d+\s*)?=\s*([a-z]+)\b")


def dmarc(message: Message, authserv_id: str) -> Dmarc:
    """Return whether the domain in From vouches for the mail.

    Args:
        authserv_id: name the own server writes; empty where it is not known, and then nobody is believed.

    Returns: `none` where the server looked and the domain does not say; empty where the server did not look.
    """
    top = headers.first(message, "Authentication-Results")
    server, *results = _statements(top.lower())
    if not authserv_id or server.split()[:1] != [authserv_id.lower()]:
        return ""
    found = [(match[1], match[2]) for result in results if (match := _RESULT.match(result))]
    verdicts = {value for method, value in found if method == "dmarc"}
    if verdicts:
        # Two different verdicts prove nothing.
        return "pass" if verdicts == {"pass"} else "fail" if "fail" in verdicts else "none"
    failed = ("spf", "fail") in found or ("dkim", "fail") in found
    return "fail" if failed and ("dkim", "pass") not in found and ("spf", "pass") not in found else "none"


def authserv_id_of(message: Message) -> str:
    """Return the name in the topmost Authentication-Results, or an empty string."""
    server, *_ = _statements(headers.first(message, "Authentication-Results"))
    return " ".join(server.split()[:1])


def _statements(value: str) -> list[str]:
    """Split a header at its semicolons, without comments and quoted strings: a sender can put words into both."""
    pieces, depth, in_quotes, skip = [""], 0, False, False
    for char in value:
        if skip:
            skip = False
        elif char == "\\":
            skip = True
        elif in_quotes:
            in_quotes = char != '"'
        elif char == "(":
            depth += 1
        elif char == ")":
            depth = max(0, depth - 1)
        elif depth:
            continue
        elif char == '"':
            in_quotes = True
        elif char == ";":
            pieces.append("")
        else:
            pieces[-1] += char
    return pieces
