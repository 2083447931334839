"""Settings of what keeps people, documents and models from doing harm, and of the questions nobody could answer."""

from typing import Annotated

from pydantic import Field

from hub.model_settings import Count, Seconds, Table

Phrase = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]


class GuardSettings(Table):
    """Limits and word lists."""

    max_text_chars: Count = 32_000
    """Longest message, files not counted; a longer one is refused."""
    block: tuple[Phrase, ...] = ()
    """Words and phrases: a message that holds one is not answered, and says so."""
    redact: tuple[Phrase, ...] = ()
    """Words and phrases that are masked: in messages before they are read or kept, and in answers."""
    allow: tuple[Phrase, ...] = ()
    """Phrases in which a word of the other lists is harmless."""
    blocked_text: str = ""
    """What the sender of a blocked message is told; empty: a sentence of the hub's own."""


class GapSettings(Table):
    """Questions to which the documents hold no answer."""

    enabled: bool = True
    """Whether they are kept for the operator; mail addresses, telephone, card and account numbers in them are masked."""
    max_questions: Count = 10_000
    """The oldest make room for new ones."""
    keep_days: Count = 180
    similarity: Annotated[float, Field(ge=0, le=1)] = 0.72
    """Least similarity of two questions that are counted as one gap."""
    retrieval_url: str = ""
    """Where `hubbub gaps --look-up` asks for proposals; empty looks nothing up."""
    retrieval_private: bool = False
    """Whether that address may lie in a private network."""
    retrieval_timeout_s: Seconds = 10.0


class ReviewSettings(Table):
    """What the API tells a reviewer about a repository."""

    enabled: bool = True
    max_results: Annotated[int, Field(ge=1, le=50)] = 8
    """References of one answer at most."""
    timeout_s: Seconds = 5.0
    """After which the answer is empty."""
