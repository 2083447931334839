"""Who may read a collection, and who asks: a passage never reaches anybody its collection is not meant for.

An audience is one word in the database. Whoever asks is a value that the asking side makes of what it knows for
certain; knowledge itself knows no channels and no people.
"""

import re
from dataclasses import dataclass

from hub.errors import KnowledgeError

PUBLIC = "public"
"""Everybody who can reach the assistant."""
OPERATOR = "operator"
"""Whoever runs the hub, and nobody who writes to it."""
MAX_NAME_CHARS = 256
_NARROW = re.compile(r"(?:site|person):[^\s\x00-\x1f\x7f]+", re.ASCII)


def parse_audience(text: str) -> str:
    """Check an audience.

    Returns: `public`, `operator`, `site:<key>` or `person:<id>`.
    Raises: KnowledgeError: it is none of them.
    """
    if text in (PUBLIC, OPERATOR) or (len(text) <= MAX_NAME_CHARS and _NARROW.fullmatch(text)):
        return text
    raise KnowledgeError(f"audience {text[:60]!r}: expected public, operator, site:KEY or person:ID")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Somebody who asks; without anything known of them, a reader of public documents alone."""

    site: str = ""
    """Key of the site whose page they use."""
    people: frozenset[str] = frozenset()
    """Their identities as channels vouch for them; none where no channel does, and where others read along."""
    is_operator: bool = False

    @property
    def audiences(self) -> frozenset[str]:
        """All audiences this reader belongs to."""
        named = {f"site:{self.site}"} if self.site else set()
        named |= {f"person:{person}" for person in self.people if person}
        return frozenset({PUBLIC, *named, *([OPERATOR] if self.is_operator else [])})

    def may_read(self, audience: str) -> bool:
        """Tell whether documents of an audience are meant for this reader."""
        return audience in self.audiences


ANYONE = Reader()
"""Of whom nothing is known."""
THE_OPERATOR = Reader(is_operator=True)
"""Who works on the data folder itself."""


def reader_as(audience: str) -> Reader:
    """Give a reader who belongs to an audience, to look at the documents as they do.

    Raises: KnowledgeError: it is no audience.
    """
    kind, _, name = parse_audience(audience).partition(":")
    match kind:
        case "site":
            return Reader(site=name)
        case "person":
            return Reader(people=frozenset({name}))
    return THE_OPERATOR if kind == OPERATOR else ANYONE
