"""The prompt of one question: the profile's opening, then as many statements as the budget holds, then the question."""

from collections.abc import Sequence

from engine.memory.summary import Summary
from engine.memory.window import window
from engine.models.base import ChatMessage, ChatModel, Prompt
from engine.profiles import Profile
from hub.messages import Turn

MAX_FACT_TOKENS = 220
"""Of the statements in a prompt; a small model loses the thread in more, and each costs time before the first word."""
MAX_LONE_TOKENS = 1000
"""Of a statement alone: a line of rare characters can have thousands, which take a small machine many seconds."""

MIN_SUMMARY_CONTEXT = 4096
"""The line of the summary is for models with a longer context than this. Over 20 questions the bundled model of 135M
parameters passed the check no more often with it, fell silent on 4 that it had answered without, and beside a
window it took a wrong number once: it confuses what was asked earlier with the facts."""
MAX_SUMMARY_TOKENS = 160
PAIR = 2
"""Messages of one turn: its question and its answer."""
_EARLIER = "Earlier in this conversation the user asked about: {entries}"


def compose(
    model: ChatModel,
    profile: Profile,
    facts: Sequence[str],
    question: str,
    *,
    answer_tokens: int,
    turns: Sequence[Turn] = (),
    last_turns: int = 0,
    summary: Summary | None = None,
    style: str = "",
) -> Prompt:
    """Build a prompt that fits the context window.

    What does not fit is left out in this order: the summary, the turns of the window from the oldest on, the facts from
    the last on, and before the first of them the line on style.

    Args:
        facts: plain sentences, most important first.
        answer_tokens: room to leave for the answer.
        turns: the conversation's history, for questions that need it.
        last_turns: the most of them to show.
        summary: what was asked before them; always left out for a model with a short context.
        style: one line on how to answer, for a model that can follow it.

    Returns: messages of at most `context_length - answer_tokens` tokens, unless the opening and the question alone
        have more; then these, and the model refuses them.
    """
    opening = list(profile.opening_messages())
    room = model.context_length - answer_tokens
    earlier = window(turns, last=last_turns, budget_tokens=room // 4, count=model.count_tokens)
    line = _summary_line(model, summary) if summary and model.context_length > MIN_SUMMARY_CONTEXT else []
    manner = [ChatMessage(role="system", text=style)] if style and profile.follows_style else []
    kept = list(facts)
    while True:
        asked = ChatMessage(role="user", text=profile.ask(kept, question))
        messages = (*opening, *line, *earlier, *manner, asked)
        if model.count_tokens(messages) <= room:
            break
        if line:
            line.clear()
        elif earlier:
            del earlier[:PAIR]
        elif len(kept) > 1:
            kept.pop()
        elif manner:
            manner.clear()
        elif kept:
            kept.pop()
        else:
            break
    return Prompt(messages=messages, shared=len(opening))


def _summary_line(model: ChatModel, summary: Summary) -> list[ChatMessage]:
    """Write the newest entries that fit the budget on one line, in a message of its own."""
    line: list[ChatMessage] = []
    for first in range(len(summary.entries) - 1, -1, -1):
        text = _EARLIER.format(entries=" ".join(summary.entries[first:]))
        longer = [ChatMessage(role="system", text=text)]
        if model.count_tokens(longer) > MAX_SUMMARY_TOKENS:
            break
        line = longer
    return line


def within_budget(model: ChatModel, facts: Sequence[str], budget_tokens: int = MAX_FACT_TOKENS) -> list[str]:
    """Keep the first facts that fit a budget of tokens, at least one; none that alone has more than MAX_LONE_TOKENS."""
    kept: list[str] = []
    for fact in facts:
        if not kept and model.count_tokens([ChatMessage(role="user", text=fact)]) > MAX_LONE_TOKENS:
            continue
        if (
            kept
            and model.count_tokens([ChatMessage(role="user", text=" ".join([*kept, fact]))]) > budget_tokens
        ):
            break
        kept.append(fact)
    return kept
