"""Answers questions about the person who asks from the facts that are remembered about them."""

from collections.abc import Mapping

from engine.memory.facts import in_first_person, in_second_person, known_name
from engine.questions import asks_own_name, is_about_self
from engine.text import content_stems, words
from knowledge.passages import Retriever

_LEAST_SIMILARITY = 0.46
_LEAST_SIMILARITY_SAME_WORDS = 0.35
"""Enough where at least half of the question's content words stand in the fact."""
_MARGIN = 0.1
_MAX_FACTS = 3
_THIRD_PERSON = frozenset({"user", "user's", "my", "i"})


async def facts_for(retriever: Retriever, question: str, facts: Mapping[str, str]) -> list[str]:
    """Find the facts that a question about oneself asks for, best first.

    A fact is compared in the person's own words: "My name is Maria." lies nearer to "What is my name?" than
    "The user's name is Maria." does.
    """
    if asks_own_name(question):
        return [facts["name"]] if "name" in facts else []
    if not facts or not is_about_self(question):
        return []
    known = list(facts.values())
    vectors = await retriever.embed([question, *(in_first_person(fact) for fact in known)])
    similarities = [float(similarity) for similarity in vectors[1:] @ vectors[0]]
    near = sorted(
        (-similarity, fact)
        for similarity, fact in zip(similarities, known, strict=True)
        if similarity >= _LEAST_SIMILARITY
        or (similarity >= _LEAST_SIMILARITY_SAME_WORDS and _shares_words(question, fact))
    )
    return [fact for distance, fact in near if distance - near[0][0] <= _MARGIN][:_MAX_FACTS]


def _shares_words(question: str, fact: str) -> bool:
    asked = content_stems(question)
    return bool(asked) and 2 * len(asked & content_stems(fact)) >= len(asked)


def says_fact(answer: str, fact: str, question: str) -> bool:
    """Whether a generated answer tells a fact to its person: all of what it is about, and nothing else."""
    if _THIRD_PERSON & set(words(answer)):
        return False
    value = known_name({"name": fact})
    if value and value not in answer:
        return False
    said, told = content_stems(answer), content_stems(in_second_person(fact))
    return bool(said) and told <= said | content_stems(question) and said <= told | content_stems(question)
