"""The sliding window: which earlier turns of a conversation the model gets to see."""

from collections.abc import Callable, Sequence

from engine.models.base import ChatMessage
from hub.messages import Turn

_MAX_CHARS = 400
"""Of one earlier question or answer; the rest of a long one says little about what comes next."""


def window(
    turns: Sequence[Turn], *, last: int, budget_tokens: int, count: Callable[[Sequence[ChatMessage]], int]
) -> list[ChatMessage]:
    """Choose the most recent turns that fit, oldest first.

    Args:
        turns: the conversation's history, oldest first.
        last: the most turns to show.
        budget_tokens: tokens they may take together.
        count: counts the tokens of messages as the model does.
    """
    chosen: list[ChatMessage] = []
    recent = [turn for turn in turns if turn.kind == "answer"][-last:] if last > 0 else []
    for turn in reversed(recent):
        pair = [
            ChatMessage(role="user", text=turn.question[:_MAX_CHARS]),
            ChatMessage(role="assistant", text=turn.answer[:_MAX_CHARS]),
        ]
        if count(pair + chosen) > budget_tokens:
            break
        chosen = pair + chosen
    return chosen
