"""What tests of whole turns share: somebody who asks, and what they see."""

from collections.abc import Mapping, Sequence

from engine.turn import Answer, Assistant, Recollection
from hub.messages import Address, Attachment, InboundMessage, Turn, utc_now

HERE = Address(connector="web", account="site", chat="visitor", person="visitor")


class Screen:
    """What the person sees while the answer is made."""

    def __init__(self) -> None:
        self.text = ""
        self.resets = 0
        self.waits: list[float] = []

    async def add(self, text: str) -> None:
        """Show more text."""
        self.text += text

    async def waiting(self, wait_s: float) -> None:
        """See that it takes a while."""
        self.waits.append(wait_s)

    async def reset(self) -> None:
        """Drop what was shown."""
        self.text = ""
        self.resets += 1


async def ask(
    assistant: Assistant,
    text: str,
    *,
    facts: Mapping[str, str] | None = None,
    turns: Sequence[Turn] = (),
    attachments: tuple[Attachment, ...] = (),
    quoted: str = "",
) -> Answer:
    """Ask one question; what was shown while it was answered is the answer."""
    message = InboundMessage(
        external_key="1", conversation="c", address=HERE, text=text, attachments=attachments, quoted=quoted
    )
    screen = Screen()
    answer = await assistant.answer(message, Recollection(turns=turns, facts=facts or {}), screen)
    assert (screen.text, screen.resets) == (answer.text, 0)
    return answer


async def talk(assistant: Assistant, *texts: str) -> list[Answer]:
    """Hold a conversation, remembering as the worker does."""
    facts: dict[str, str] = {}
    turns: list[Turn] = []
    answers = []
    for text in texts:
        answer = await ask(assistant, text, facts=facts, turns=turns)
        facts = {} if answer.forget else facts | dict(answer.facts)
        turns.append(
            Turn(
                turn="1",
                question=text,
                answer=answer.text,
                kind=answer.kind,
                sources=answer.sources,
                asked_at=utc_now(),
                answered_at=utc_now(),
            )
        )
        answers.append(answer)
    return answers
