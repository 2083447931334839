"""What words are looked for in the archive, in the terms of each database."""

import re
from collections.abc import Iterator

from sqlalchemy import ColumnElement, and_, or_, text, true

from hub.archive.tables import FULL_TEXT, ArchivedTurnRow

_WORD = re.compile(r"\w+")
_MAX_WORDS = 12
_MAX_WORD_CHARS = 64
_IN_SQLITE = f"archived_turns.id IN (SELECT rowid FROM {FULL_TEXT} WHERE {FULL_TEXT} MATCH :words)"  # noqa: S608
# Character for character what the index is made of, or it is not used.
_FOLDED = r"normalize(regexp_replace(normalize({}, NFD), '[\u0300-\u036f]+', '', 'g'), NFC)"
_SAID = "left(question || ' ' || answer, 100000)"
_IN_POSTGRESQL = (
    f"to_tsvector('simple', {_FOLDED.format(_SAID)}) "
    f"@@ to_tsquery('simple', {_FOLDED.format('CAST(:words AS text)')})"
)


def words_of(typed: str) -> list[str]:
    """Return the words that are looked for: letters and digits alone, so that no operator of a database remains."""
    return [word[:_MAX_WORD_CHARS] for word in _WORD.findall(typed)][:_MAX_WORDS]


def matching(typed: str, dialect: str) -> Iterator[ColumnElement[bool]]:
    """Give conditions for turns that hold all words, the next one for when the one before finds nothing.

    Args:
        typed: as a person wrote it.
        dialect: `sqlite` or `postgresql`.

    Yields: first by the index, where each word may be the beginning of one; then by any part of the text, for languages
        that are written without blanks. Nothing where there is no word.
    """
    words = words_of(typed)
    if not words:
        return
    if dialect == "sqlite":
        yield _condition(_IN_SQLITE, " ".join(f'"{word}"*' for word in words))
    else:
        yield _condition(_IN_POSTGRESQL, " & ".join(f"'{word}':*" for word in words))
    yield and_(
        *(
            or_(
                ArchivedTurnRow.question.icontains(word, autoescape=True),
                ArchivedTurnRow.answer.icontains(word, autoescape=True),
            )
            for word in words
        )
    )


def _condition(condition: str, words: str) -> ColumnElement[bool]:
    return and_(true(), text(condition).bindparams(words=words))
