"""Which parts of a message are answered, and what is said of those that stay open."""

from collections.abc import Iterator, Sequence

from engine import replies
from engine.answers import Route
from engine.memory.summary import shortened
from engine.questions import MAX_QUESTIONS, asks_about_own_life


def worth_answering(asked: list[str]) -> list[str]:
    """Leave out pleasantries beside a question: "How are you? How much is an espresso?" asks one thing."""
    return [question for question in asked if not replies.small_talk(question, {})] or asked[:1]


def notices(asked: Sequence[str], routes: Sequence[Route], *, is_broken_off: bool) -> Iterator[str]:
    """Say what of a message stays without an answer, and why."""
    if is_broken_off:
        yield replies.MODEL_UNAVAILABLE
        return
    if all(route == "unknown" for route in routes):
        yield _unknown(asked[0])
    yield from _left_open(asked, routes)


def _left_open(asked: Sequence[str], routes: Sequence[Route]) -> Iterator[str]:
    """Say which of several questions stay without an answer; nothing where that is said of all already."""
    shown = [f"“{shortened(question)}”" for question in asked]
    unknown = [text for text, route in zip(shown, routes, strict=False) if route == "unknown"]
    if unknown and len(unknown) < len(routes):
        yield replies.NOTHING_ABOUT.format(questions="; ".join(unknown))
    if later := shown[len(routes) :]:
        yield replies.TOO_MANY_QUESTIONS.format(most=MAX_QUESTIONS, questions=" ".join(later))


def _unknown(question: str) -> str:
    return replies.UNKNOWN_FACT if asks_about_own_life(question) else replies.NOT_IN_DOCUMENTS
