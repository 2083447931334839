"""Facts that a model finds in what a person tells; it points at the words, and the sentence is made here.

A model's word is never enough: what it points at has to stand in the message, in a clause in which the person states
something of themselves, and it may name only what kind of fact it is and which words carry it.
"""

import re
from contextlib import aclosing

import orjson

from engine.memory.clauses import clauses
from engine.memory.facts import Told, found_in, is_plain
from engine.models.base import ANYBODY, ChatMessage, ChatModel, GenerateOptions, Prompt, Requester, Text
from engine.output import visible
from engine.text import content_stems, words

_SENTENCES = {
    "likes": "The user likes {value}.",
    "dislikes": "The user dislikes {value}.",
    "hobby": "The user's hobby is {value}.",
    "speaks": "The user speaks {value}.",
    "studies": "The user studies {value}.",
    "owns": "The user has {value}.",
    "diet": "The user's diet is {value}.",
    "allergy": "The user is allergic to {value}.",
    "goal": "The user wants {value}.",
}
_SCHEMA = orjson.dumps(
    {
        "type": "object",
        "properties": {
            "facts": {
                "type": "array",
                "maxItems": 3,
                "items": {
                    "type": "object",
                    "properties": {
                        "kind": {"enum": sorted(_SENTENCES)},
                        "value": {"type": "string", "maxLength": 60},
                    },
                    "required": ["kind", "value"],
                    "additionalProperties": False,
                },
            }
        },
        "required": ["facts"],
        "additionalProperties": False,
    }
).decode()
_SYSTEM = (
    "List what the writer of the message says about themselves as JSON. `value` holds words of the message. "
    'If they say nothing lasting about themselves, the answer is {"facts": []}.'
)
_EXAMPLES = (
    (
        "I play the violin and I am allergic to nuts.",
        '{"facts": [{"kind": "hobby", "value": "the violin"}, {"kind": "allergy", "value": "nuts"}]}',
    ),
    ("I need the opening hours of the shop.", '{"facts": []}'),
    (
        "We speak Konkani at home, and I study law.",
        '{"facts": [{"kind": "speaks", "value": "Konkani"}, {"kind": "studies", "value": "law"}]}',
    ),
)
_SIGNS = {
    "likes": "like love enjoy adore prefer fan",
    "dislikes": "hate dislike loathe avoid like enjoy stand",
    "hobby": "hobby play paint draw run swim climb collect cook bake garden knit sing dance hike",
    "speaks": "speak fluent native",
    "studies": "study studying learn student",
    "owns": "have own got bought",
    "diet": "vegetarian vegan eat diet halal kosher",
    "allergy": "allergic allergy intolerant",
    "goal": "want plan hope goal would saving",
}
"""Words of which the clause holds at least one, so that the kind is not made up."""
_FIRST_PERSON = re.compile(r"\b(?:i|i'm|i've|my|we)\b", re.IGNORECASE)
_NEGATED = re.compile(r"\b(?:not|never|no|nobody|without)\b|n['’]t\b|\bcannot\b", re.IGNORECASE)
_MAX_READ_CHARS = 600
_MAX_TOKENS = 120


def may_tell(text: str) -> bool:
    """Whether it is worth asking a model: something is stated in the first person."""
    return not text.lstrip().startswith("/") and bool(_statements(text))


async def model_facts(model: ChatModel, text: str, requester: Requester = ANYBODY) -> dict[str, Told]:
    """Let a model point at what a person tells about themselves.

    Args:
        text: what they wrote.
        requester: on whose behalf the model works.

    Returns: by key, as `told_facts` does; nothing where what it says is not borne out by the message.
    Raises: ModelError: the model failed, or cannot keep to a schema.
    """
    stated = _statements(text)
    if not stated:
        return {}
    messages = [ChatMessage(role="system", text=_SYSTEM)]
    for said, listed in _EXAMPLES:
        messages += [ChatMessage(role="user", text=said), ChatMessage(role="assistant", text=listed)]
    prompt = Prompt(
        messages=(*messages, ChatMessage(role="user", text=". ".join(stated)[:_MAX_READ_CHARS])),
        shared=len(messages),
    )
    options = GenerateOptions(max_tokens=_MAX_TOKENS, json_schema=_SCHEMA)
    async with aclosing(model.stream(prompt, options, requester)) as events:
        answer = "".join([event.text async for event in events if isinstance(event, Text)])
    return _borne_out(answer, visible(text), stated)


def _statements(text: str) -> list[str]:
    return [clause for clause in clauses(visible(text)) if _FIRST_PERSON.search(clause)]


def _borne_out(answer: str, shown: str, stated: list[str]) -> dict[str, Told]:
    try:
        listed = orjson.loads(answer)["facts"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        # Broken off, or by a model that does not keep to the schema.
        return {}
    facts: dict[str, Told] = {}
    for one in listed if isinstance(listed, list) else []:
        kind, value = (
            (str(one.get(name, "")) for name in ("kind", "value")) if isinstance(one, dict) else ("", "")
        )
        value = " ".join(value.split()).strip(" .,;:!")
        clause = next((clause for clause in stated if value and value.lower() in clause.lower()), "")
        if (
            kind not in _SENTENCES
            or not is_plain(value)
            or not content_stems(value)
            or not _is_of_kind(kind, clause)
        ):
            continue
        if quote := found_in(shown, clause):
            key = f"{kind} {value.lower()}" if kind in ("likes", "dislikes", "owns", "speaks") else kind
            facts[key] = Told(
                key=key,
                text=_SENTENCES[kind].format(value=value),
                quote=quote,
                core=clause[: clause.lower().index(value.lower()) + len(value)],
                found_by="model",
            )
    return facts


def _is_of_kind(kind: str, clause: str) -> bool:
    said = set(words(clause))
    stems = {word.removesuffix("s") for word in said} | said
    is_negated = bool(_NEGATED.search(clause))
    if kind == "dislikes":
        is_negated = not is_negated and bool(said & {"like", "enjoy", "stand"})
    return bool(stems & set(_SIGNS[kind].split())) and not is_negated
