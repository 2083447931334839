"""Which answers are given again, and to whom."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from engine.answers import Answer, Recollection, TextSink, TurnStats
from engine.cache import CachedAnswers
from engine.memory.summary import Summary
from engine.readers import Readers
from hub.bus.cache import AnswerCache, CacheCounts, cache_counts
from hub.errors import UnknownModel
from hub.messages import Address, Generation, InboundMessage, PromptMessage, Source, Turn, Usage, utc_now
from hub.people import People, identity_of
from hub.settings import EngineSettings
from knowledge.audience import Reader
from tests.engine.turns import Screen

SOURCE = Source(number=1, title="Guide", location="guide.md", quote="So it is.", score=0.8)
QUESTION = (PromptMessage(role="user", text="What is it?"),)
ASKED = Generation(model="m", messages=QUESTION)


class Counting:
    """Answers with a number that grows."""

    def __init__(self) -> None:
        self.count = 0
        self.more: dict[str, Any] = {}

    async def answer(self, message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        """Say how many were answered."""
        self.count += 1
        answer = f"answer {self.count}"
        await text.add(answer)
        usage = Usage(model="m", prompt_tokens=9, answer_tokens=2, processing_s=5)
        fields = {"kind": "answer", "text": answer, "usage": usage, "sources": (SOURCE,), **self.more}
        return Answer(stats=TurnStats(model="m", route="model"), **fields)


class Bench:
    """A cache before answers that are counted."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.inner = Counting()
        self.models = {"m": "file 1", "n": "file 2"}
        self.knowledge = 1
        self.audiences = {"public"}

    def cached(self, **settings: Any) -> CachedAnswers:
        """Make the cached answers."""

        async def identity(name: str) -> str:
            if name not in self.models:
                raise UnknownModel(name, self.models)
            return self.models[name]

        async def view(reader: Reader) -> str:
            return " ".join([str(self.knowledge), *sorted(reader.audiences & self.audiences)])

        engine = EngineSettings(**{"model": "m", "cache_answers": True, **settings})
        cache = AnswerCache(self.redis, ttl_s=60)
        return CachedAnswers(
            self.inner,
            cache,
            settings=engine,
            identity=identity,
            knowledge_view=view,
            readers=Readers(People(self.redis)),
        )

    async def ask(
        self, message: InboundMessage, recollection: Recollection | None = None, **settings: Any
    ) -> str:
        """Ask; what was shown is what was answered."""
        screen = Screen()
        answer = await self.cached(**settings).answer(message, recollection or Recollection(), screen)
        assert screen.text == answer.text
        return answer.text

    async def counts(self) -> tuple[int, int]:
        """Hits and misses."""
        counts = await cache_counts(self.redis)
        return counts.hits, counts.misses


@pytest.fixture
def bench(redis: Redis) -> Bench:
    """An empty cache."""
    return Bench(redis)


def asks(generation: Generation | None = ASKED, *, key: str = "key-1", **more: Any) -> InboundMessage:
    """Make a request of a client."""
    address = Address(connector="api", account=key, chat="s", person=f"{key}:s")
    fields = {"external_key": "1", "conversation": f"c-{key}", "address": address, "text": "", **more}
    return InboundMessage.model_validate({**fields, "generation": generation})


def turn(answer: str) -> Turn:
    """An earlier turn."""
    return Turn(turn="1-1", question="Who?", answer=answer, asked_at=utc_now(), answered_at=utc_now())


async def test_the_same_request_gets_the_same_answer(bench: Bench) -> None:
    """Text, sources and usage come again, and say where they come from."""
    first = await bench.cached().answer(asks(), Recollection(), Screen())
    again = await bench.cached().answer(asks(), Recollection(), Screen())

    assert (again.text, again.sources) == (first.text, first.sources) == ("answer 1", (SOURCE,))
    assert first.usage is not None
    assert again.usage is not None
    assert (first.usage.from_cache, again.usage.from_cache) == (False, True)
    assert (again.usage.answer_tokens, again.stats.model) == (2, "")
    assert again.usage.processing_s < 5
    assert await bench.counts() == (1, 1)


@pytest.mark.parametrize(
    "other",
    [
        asks(key="key-2"),
        asks(ASKED.model_copy(update={"model": "n"})),
        asks(ASKED.model_copy(update={"messages": (*QUESTION, *QUESTION)})),
        asks(ASKED.model_copy(update={"messages": (PromptMessage(role="system", text="What is it?"),)})),
        asks(ASKED.model_copy(update={"max_tokens": 3})),
        asks(ASKED.model_copy(update={"seed": 3})),
        asks(ASKED.model_copy(update={"stop": ("\n",)})),
        asks(ASKED.model_copy(update={"json_schema": "{}"})),
        asks(ASKED.model_copy(update={"with_history": True})),
    ],
)
async def test_whatever_differs_is_answered_anew(bench: Bench, other: InboundMessage) -> None:
    """Another client, model, message, role or option is another request."""
    await bench.ask(asks())

    assert await bench.ask(other) == "answer 2"
    assert await bench.ask(asks()) == "answer 1"


async def test_a_changed_model_file_is_another_model(bench: Bench) -> None:
    """The name alone does not make a model."""
    await bench.ask(asks())
    bench.models["m"] = "file 3"

    assert await bench.ask(asks()) == "answer 2"


async def test_a_session_keeps_to_itself(bench: Bench) -> None:
    """The conversation and what was said in it are part of the request."""
    asked = asks(ASKED.model_copy(update={"with_history": True}))
    other = asked.model_copy(update={"conversation": "elsewhere"})

    answers = [
        await bench.ask(message, Recollection(turns=turns))
        for message, turns in (
            (asked, []),
            (other, []),
            (asked, [turn("Me.")]),
            (asked, [turn("You.")]),
            (asked, [turn("Me.")]),
        )
    ]

    assert answers == ["answer 1", "answer 2", "answer 3", "answer 4", "answer 3"]


async def test_only_what_is_certain_is_cached_unasked(bench: Bench) -> None:
    """Temperature 0, where the settings say so; a client may ask for it, or against it."""
    warm = ASKED.model_copy(update={"temperature": 0.8})
    asked_for, refused = (warm.model_copy(update={"use_cache": wanted}) for wanted in (True, False))

    for generation in (warm, warm, refused, refused):
        await bench.ask(asks(generation))
    for _ in range(2):
        await bench.ask(asks(), cache_answers=False)
    assert await bench.counts() == (0, 0)

    answers = [await bench.ask(asks(asked_for), cache_answers=False) for _ in range(2)]
    assert answers == ["answer 7", "answer 7"]


async def test_the_assistants_answers_last_until_documents_change(bench: Bench) -> None:
    """A question that stands alone is answered again from the documents as they are now."""
    question = asks(None, text="What is it?", kept_s=3600)

    first = [await bench.ask(question) for _ in range(2)]
    bench.knowledge = 2
    later = await bench.ask(question)

    assert (first, later) == (["answer 1", "answer 1"], "answer 2")


async def test_a_model_itself_knows_no_documents(bench: Bench) -> None:
    """Its answers outlive a change of them."""
    await bench.ask(asks())
    bench.knowledge = 2

    assert await bench.ask(asks()) == "answer 1"


async def test_what_was_told_before_makes_an_answer_personal(bench: Bench) -> None:
    """Within a conversation, with facts, turns or a summary, the assistant is always asked."""
    alone = asks(None, text="What is my name?", kept_s=3600)
    recollections = [
        Recollection(facts={"name": "The user's name is Maria."}),
        Recollection(turns=[turn("Me.")]),
        Recollection(summary=Summary(count=1)),
    ]

    for recollection in recollections:
        await bench.ask(alone, recollection)
    await bench.ask(alone.model_copy(update={"kept_s": 0}))

    assert bench.inner.count == 4
    assert await bench.counts() == (0, 0)


@pytest.mark.parametrize(
    "more",
    [{"kind": "error", "code": "x"}, {"kind": "notice"}, {"facts": {"name": "Maria"}}, {"usage": None}],
)
async def test_only_answers_are_kept(bench: Bench, more: dict[str, Any]) -> None:
    """Neither errors nor notices, nor what taught the hub something about a person."""
    bench.inner.more = more

    assert [await bench.ask(asks()) for _ in range(2)] == ["answer 1", "answer 2"]


async def test_an_unknown_model_is_no_look_up(bench: Bench) -> None:
    """Whoever asks it says so."""
    assert await bench.ask(asks(ASKED.model_copy(update={"model": "gone"}))) == "answer 1"
    assert await bench.counts() == (0, 0)


async def test_a_hundred_clients_at_once_never_see_each_others_answers(bench: Bench) -> None:
    """And every look-up is a hit or a miss."""
    cached = bench.cached()

    async def work(number: int) -> set[str]:
        seen = set()
        for _ in range(5):
            answer = await cached.answer(asks(key=f"key-{number}"), Recollection(), Screen())
            seen.add(answer.text)
        return seen

    seen = await asyncio.gather(*(work(number) for number in range(100)))

    assert all(len(answers) == 1 for answers in seen)
    assert len(set().union(*seen)) == 100
    assert await cache_counts(bench.redis) == CacheCounts(lookups=500, hits=400, misses=100)


class Telling:
    """Answers with what the reader may see at that moment, as documents would have it."""

    def __init__(self, there: dict[str, str]) -> None:
        self.there = there

    async def answer(self, message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        """Say everything that is known."""
        reader = await Readers().of(message)
        told = " ".join(sorted(word for word, audience in self.there.items() if reader.may_read(audience)))
        await text.add(told)
        usage = Usage(model="m", prompt_tokens=9, answer_tokens=2, processing_s=5)
        return Answer(kind="answer", text=told, usage=usage, stats=TurnStats(model="m", route="documents"))


def person(name: str, *, site: str = "") -> InboundMessage:
    """A question of somebody, on the page of a site or to the one bot there is."""
    address = Address(
        connector="web" if site else "telegram",
        account=site or "bot",
        chat=name,
        person=name,
        is_verified=True,
    )
    return InboundMessage(
        external_key="1", conversation=f"c-{name}", address=address, text="What is known?", kept_s=60
    )


ASKING = [person("ada"), person("bob"), person("ada", site="shop"), person("eve", site="club")]
AUDIENCES = [
    "public",
    "operator",
    "site:shop",
    "site:club",
    f"person:{identity_of(ASKING[0].address)}",
    f"person:{identity_of(ASKING[1].address)}",
]
STEPS = st.lists(
    st.one_of(
        st.sampled_from(range(len(ASKING))),
        st.tuples(st.sampled_from(["blue", "green", "red"]), st.sampled_from(AUDIENCES)),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_no_answer_reaches_whoever_may_not_read_its_documents(
    redis: Redis, steps: list[int | tuple[str, str]]
) -> None:
    """Whatever is asked by whom, and whatever becomes of the documents in between: answers are as if never kept."""
    await redis.flushall()
    bench = Bench(redis)
    telling = Telling({})
    bench.inner = telling  # type: ignore[assignment]
    for step in steps:
        if isinstance(step, tuple):
            telling.there[step[0]] = step[1]
            bench.knowledge += 1
            bench.audiences = {"public", *telling.there.values()}
            continue
        reader = await Readers().of(ASKING[step])
        told = await bench.ask(ASKING[step])
        assert told.split() == sorted(w for w, audience in telling.there.items() if reader.may_read(audience))


async def test_people_share_answers_from_what_both_may_read(bench: Bench) -> None:
    """An audience that no document is for does not keep people apart."""
    assert await bench.ask(person("ada")) == "answer 1"
    assert await bench.ask(person("bob")) == "answer 1"

    bench.audiences.add(f"person:{identity_of(person('ada').address)}")

    assert await bench.ask(person("bob")) == "answer 1"
    assert await bench.ask(person("ada")) == "answer 2"


async def test_whoever_links_another_channel_gets_no_answer_from_before(bench: Bench) -> None:
    """By then more documents are for them; and once they are split again, fewer."""
    bench.audiences.add(f"person:{identity_of(person('ada').address)}")
    people = People(bench.redis)
    assert await bench.ask(person("bob")) == "answer 1"
    code = await people.offer(person("ada").address, "t1")
    await people.redeem(code, person("bob").address, "t2")

    assert await bench.ask(person("bob")) == "answer 2"
    assert await bench.ask(person("ada")) == "answer 2"
    await people.part(person("bob").address)
    assert await bench.ask(person("bob")) == "answer 1"


async def test_an_answer_is_not_kept_when_the_documents_changed_under_way(bench: Bench) -> None:
    """Nobody can tell any more which of them it came from."""
    answer = bench.inner.answer

    async def changing(message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        bench.knowledge += 1
        return await answer(message, recollection, text)

    bench.inner.answer = changing  # type: ignore[method-assign]
    assert await bench.ask(person("ada")) == "answer 1"
    bench.inner.answer = answer  # type: ignore[method-assign]
    bench.knowledge -= 1

    assert await bench.ask(person("ada")) == "answer 2"
