"""The prompt of one question: the profile's opening, then as many statements as the budget holds, then the question."""

from collections.abc import Sequence

from engine.memory.window import window
from engine.models.base import ChatMessage, ChatModel
from engine.profiles import Profile, facts_and_question
from hub.messages import Turn

MAX_FACT_TOKENS = 220
"""Of the statements in a prompt; a small model loses the thread in more, and each costs time before the first word."""


def compose(
    model: ChatModel,
    profile: Profile,
    facts: Sequence[str],
    question: str,
    *,
    answer_tokens: int,
    turns: Sequence[Turn] = (),
    last_turns: int = 0,
) -> list[ChatMessage]:
    """Build a prompt that fits the context window.

    Args:
        facts: plain sentences, most important first; the last ones are left out where they do not fit.
        answer_tokens: room to leave for the answer.
        turns: the conversation's history, for questions that need it.
        last_turns: the most of them to show.
    """
    opening = list(profile.opening_messages())
    room = model.context_length - answer_tokens
    earlier = window(turns, last=last_turns, budget_tokens=room // 4, count=model.count_tokens)
    kept = list(facts)
    while True:
        prompt = [*opening, *earlier, ChatMessage(role="user", text=facts_and_question(kept, question))]
        if not kept or model.count_tokens(prompt) <= room:
            return prompt
        if earlier:
            earlier.clear()
        else:
            kept.pop()


def within_budget(model: ChatModel, facts: Sequence[str], budget_tokens: int = MAX_FACT_TOKENS) -> list[str]:
    """Keep the first facts that fit a budget of tokens, at least one."""
    kept: list[str] = []
    for fact in facts:
        if (
            kept
            and model.count_tokens([ChatMessage(role="user", text=" ".join([*kept, fact]))]) > budget_tokens
        ):
            break
        kept.append(fact)
    return kept
