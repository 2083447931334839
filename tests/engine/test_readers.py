"""As whom a message looks at the documents."""

import pytest
from redis.asyncio import Redis

from engine.answers import Recollection
from engine.readers import Readers
from engine.turn import Assistant
from hub.errors import BusError
from hub.messages import Address, InboundMessage
from hub.people import People, identity_of
from hub.settings import EngineSettings, KeySettings, KnowledgeSettings
from knowledge.audience import ANYONE, Reader
from knowledge.passages import Passage
from tests.engine.assistants import LoadedModels
from tests.engine.small_retriever import Embeddings, SmallRetriever
from tests.engine.turns import Screen
from tests.models import EchoModel

VISITOR = Address(connector="web", account="shop", chat="v1", person="v1", is_verified=True)
FRIEND = Address(connector="telegram", account="12", chat="7", person="7", is_verified=True)


MAIL = Address(connector="email", account="help@x.org", chat="t", person="jo@x.org", is_verified=True)


def message(address: Address, text: str = "Hello?") -> InboundMessage:
    """Write something."""
    return InboundMessage(external_key="1", conversation="c", address=address, text=text)


async def link(people: People, one: Address, other: Address) -> None:
    """Carry a code from one channel to the other."""
    code = await people.offer(one, "t1")
    assert await people.redeem(code, other, "t2") == "joined"


async def test_a_visitor_reads_what_is_for_their_site_and_for_them() -> None:
    """The site is the one whose page was used."""
    audiences = (await Readers().of(message(VISITOR))).audiences

    assert audiences == {"public", "site:shop", f"person:{identity_of(VISITOR)}"}


async def test_an_account_is_a_site_on_the_web_alone() -> None:
    """A bot or mailbox with the name of a site is not that site."""
    reader = await Readers().of(message(FRIEND.model_copy(update={"account": "shop"})))

    assert "site:shop" not in reader.audiences


@pytest.mark.parametrize("change", [{"is_verified": False}, {"is_group": True}])
async def test_nobody_is_taken_for_a_person_where_that_is_not_certain(
    redis: Redis, change: dict[str, bool]
) -> None:
    """A sender nobody vouches for, and a group, read what is public."""
    people = People(redis)
    await link(people, FRIEND, MAIL)

    reader = await Readers(people).of(message(FRIEND.model_copy(update=change)))

    assert reader.audiences == {"public"}


@pytest.mark.parametrize("person", ["operator", "7 operator", "x\x1foperator"])
async def test_no_message_comes_from_the_operator(person: str) -> None:
    """Whatever somebody calls themselves."""
    reader = await Readers().of(message(FRIEND.model_copy(update={"person": person})))

    assert "operator" not in reader.audiences
    assert not reader.may_read("operator")


async def test_linked_channels_read_what_is_for_any_of_them(redis: Redis) -> None:
    """In both directions, until they are split again; nobody else does."""
    people = People(redis)
    readers = Readers(people)
    await link(people, FRIEND, MAIL)
    both = {f"person:{identity_of(FRIEND)}", f"person:{identity_of(MAIL)}"}

    assert (await readers.of(message(FRIEND))).audiences == {"public", *both}
    assert (await readers.of(message(MAIL))).audiences == {"public", *both}
    assert both.isdisjoint((await readers.of(message(VISITOR))).audiences)
    await people.part(MAIL)
    assert (await readers.of(message(FRIEND))).audiences == {"public", f"person:{identity_of(FRIEND)}"}
    assert (await readers.of(message(MAIL))).audiences == {"public", f"person:{identity_of(MAIL)}"}


async def test_nobody_is_guessed_while_redis_is_away() -> None:
    """The message waits, instead of being answered as somebody else's."""
    people = People(Redis(host="127.0.0.1", port=1))

    with pytest.raises(BusError):
        await Readers(people).of(message(FRIEND))


class ForOne(SmallRetriever):
    """Documents that are for one person alone."""

    audience = f"person:{identity_of(FRIEND)}"

    async def search(self, question: str, k: int, reader: Reader = ANYONE) -> list[Passage]:
        """Find nothing for anybody else."""
        return await super().search(question, k, reader) if reader.may_read(self.audience) else []


async def test_a_question_by_mail_is_answered_from_what_is_for_the_linked_telegram_account(
    redis: Redis, embeddings: Embeddings
) -> None:
    """Once both are one person, and not before."""
    people = People(redis)
    assistant = Assistant(
        LoadedModels({"echo": EchoModel()}),
        ForOne(embeddings, {"jo.md": "# Jo\n\n## Ferry\n\nThe ferry of Jo leaves at noon.\n"}),
        engine=EngineSettings(),
        knowledge=KnowledgeSettings(),
        tiers=KeySettings().tiers,
        readers=Readers(people),
    )
    asked = message(MAIL, "When does the ferry of Jo leave?")

    before = await assistant.answer(asked, Recollection(), Screen())
    await link(people, FRIEND, MAIL)
    after = await assistant.answer(asked, Recollection(), Screen())

    assert (before.sources, before.kind) == ((), "notice")
    assert [source.location for source in after.sources] == ["jo.md"]
