"""People over HTTP: who is known, what is remembered of them, single facts changed, and all of it as an archive."""

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert
from structlog.testing import capture_logs

from hub.archive.archive import Archive
from hub.archive.tables import ArchivedFactRow, place_of
from hub.database import async_engine
from hub.export.archive import Archive as ZipArchive
from hub.facts import Fact
from hub.messages import utc_now
from hub.people import principal_of
from tests.hub.api.admin.operating import Operator, bytes_of
from tests.hub.api.serving import serving
from tests.hub.erasure.conftest import own_redis, redis_folder
from tests.hub.erasure.world import ANA, BEN, BOT, GROUP, World
from tests.servers.redis import RedisServer

__all__ = ["own_redis", "redis_folder"]
PRIVATE = f"telegram-{BOT}-{ANA.number}"


@pytest.fixture
async def world(own_redis: RedisServer, data: Path) -> AsyncIterator[World]:
    """A hub without processes."""
    world = World(own_redis, data)
    yield world
    await world.close()


@pytest.fixture
async def operator(world: World) -> AsyncIterator[Operator]:
    """An operator of that hub."""
    async with serving(world.bus.url, world.settings.data, admin=world.settings) as api:
        yield Operator(api, await api.new_key("own", "admin"))


async def tell(world: World, conversation: str, key: str, text: str, *, person: str = "") -> None:
    """Let a fact be remembered, in Redis and in the archive."""
    turn = f"{int(utc_now().timestamp() * 1000)}-{len(key)}"
    fact = Fact(
        text=text,
        quote=f"“{text}”",
        turn=turn,
        told_at=utc_now(),
        audience="group" if person else "private",
    )
    keys = world.bus.keys(conversation)
    await world.client.hset(keys.facts(conversation, person), key, fact.to_field())
    engine = async_engine(f"sqlite:///{world.settings.data / 'hubbub.db'}")
    async with engine.execution_options(immediate=True).begin() as connection:
        await connection.execute(
            insert(ArchivedFactRow).values(
                conversation=conversation,
                owner=person,
                connector="telegram",
                account=BOT,
                person=ANA.number,
                identity=principal_of(ANA.telegram()),
                key=key,
                text=text,
                quote=fact.quote,
                found_by="rules",
                turn=turn,
                place=place_of(turn),
                told_at=fact.told_at,
            )
        )
    await engine.dispose()


async def archived(world: World, conversation: str, owner: str = "") -> dict[str, str]:
    """Return the facts that would come back from the archive."""
    engine = async_engine(f"sqlite:///{world.settings.data / 'hubbub.db'}")
    found = await Archive(engine).recall(conversation, owner, last=1)
    await engine.dispose()
    return {key: fact.text for key, fact in found.facts.items()}


async def person(operator: Operator, identity: str = f"telegram/{BOT}/{ANA.number}") -> Any:
    """Find somebody and show what is remembered."""
    _, found = await operator.call("GET", "/people", query={"identity": identity})
    status, shown = await operator.call("GET", f"/people/{found['items'][0]['id']}")
    assert status == 200
    return shown


async def test_linked_identities_are_one_person(operator: Operator, world: World) -> None:
    """In pages, each once, whichever of the identities one asks for; strangers are not found."""
    await world.live_through(ANA)
    await world.live_through(BEN)
    for number in range(3):
        await world.answer(
            BEN.telegram().model_copy(update={"person": f"9{number}"}), f"telegram-{BOT}-9{number}", "Hello"
        )

    pages = await operator.pages("/people", limit="2")
    by_page = await operator.call("GET", "/people", query={"identity": f"web/shop/{ANA.visitor}"})
    nobody = await operator.call("GET", "/people", query={"identity": "telegram/1/2"})
    no_identity = await operator.call("GET", "/people", query={"identity": "ana"})

    people = [one for page in pages for one in page]
    assert [len(page) for page in pages][:2] == [2, 2]
    assert [one["id"] for one in people] == sorted({one["id"] for one in people})
    ana = next(one for one in people if any(ANA.number == each["person"] for each in one["identities"]))
    assert {each["identity"] for each in ana["identities"]} == {
        f"telegram/{BOT}/{ANA.number}",
        f"web/shop/{ANA.visitor}",
    }
    assert ana["last_seen"] is not None
    # By what any of somebody's identities is, in pages as ever.
    on_pages = await operator.pages("/people", limit="1", connector="web")
    assert [one for page in on_pages for one in page] == [
        one for one in people if any(each["connector"] == "web" for each in one["identities"])
    ]
    for query, expected in (
        ({"connector": "web", "person": ANA.word.upper()}, [ana]),
        ({"connector": "telegram", "person": ANA.word}, []),
        ({"connector": "Web"}, []),
        ({"identity": f"telegram/{BOT}/{ANA.number}", "connector": "web"}, [ana]),
        ({"identity": f"telegram/{BOT}/{ANA.number}", "connector": "email"}, []),
    ):
        assert (await operator.call("GET", "/people", query=query))[1]["items"] == expected, query
    assert by_page[1]["items"] == [ana]
    assert nobody[1]["items"] == []
    assert (no_identity[0], no_identity[1]["errors"][0]["field"]) == (422, "identity")
    assert ana["id"].startswith(("telegram-", "web-"))


async def test_what_is_remembered_is_shown_with_its_proof(operator: Operator, world: World) -> None:
    """Facts with quote and time, style, and conversations with how much was said; of nobody else."""
    await world.live_through(ANA)
    await world.live_through(BEN)
    await tell(world, PRIVATE, "home", "The user lives in Goa.")

    shown = await person(operator)

    home = next(fact for fact in shown["facts"] if fact["key"] == "home")
    assert (home["text"], home["quote"]) == ("The user lives in Goa.", "“The user lives in Goa.”")
    assert (home["audience"], home["conversation"], home["found_by"]) == ("private", PRIVATE, "rules")
    assert home["told_at"]
    places = {place["id"]: place for place in shown["places"]}
    group = f"telegram-{BOT}-{GROUP}"
    assert (places[PRIVATE]["kind"], places[PRIVATE]["turns"]) == ("private", 2)
    assert (places[group]["kind"], places[group]["turns"]) == ("group", 3)
    assert int(places[PRIVATE]["style"]["messages"]) > 0
    assert shown["last_seen"] >= places[PRIVATE]["last_turn"]
    assert BEN.word not in str(shown)


async def test_a_fact_is_forgotten_wherever_it_was_told(operator: Operator, world: World) -> None:
    """On every linked channel and in the archive, as `/memory forget` does it; a later turn does not know it."""
    await world.live_through(ANA)
    web = next(place["id"] for place in (await person(operator))["places"] if place["id"].startswith("web-"))
    await tell(world, PRIVATE, "home", "The user lives in Goa.")
    await tell(world, web, "home", "The user lives in Pune.")
    await tell(world, PRIVATE, "work", "The user works as a baker.")
    shown = await person(operator)
    home = next(fact for fact in shown["facts"] if fact["key"] == "home")

    with capture_logs() as logs:
        forgotten = await operator.call("DELETE", f"/people/{shown['id']}/facts/{home['id']}")
    again = await operator.call("DELETE", f"/people/{shown['id']}/facts/{home['id']}")

    assert home["text"] == "The user lives in Pune."
    assert (forgotten, again[0]) == ((204, None), 404)
    assert {fact["key"] for fact in (await person(operator))["facts"]} >= {"work"}
    assert "home" not in {fact["key"] for fact in (await person(operator))["facts"]}
    assert "home" not in {**await archived(world, PRIVATE), **await archived(world, web)}
    assert (await archived(world, PRIVATE))["work"] == "The user works as a baker."
    message = world.message(ANA.telegram(), PRIVATE, "Where do I live?")
    recalled = await world.memory.recall(message, "9999999999999-0")
    assert "home" not in recalled.recollection.facts
    changes = [(line["action"], line["target"]) for line in logs if line["event"] == "admin_changed"]
    assert changes == [("fact_forgotten", shown["id"])]
    assert "Pune" not in str(logs)


async def test_what_was_told_in_a_group_is_forgotten_there_alone(operator: Operator, world: World) -> None:
    """The private fact of the same kind stays, and the other way round."""
    group = f"telegram-{BOT}-{GROUP}"
    await world.live_through(ANA)
    await tell(world, PRIVATE, "home", "The user lives in Goa.")
    await tell(world, group, "home", "The user lives in Pune.", person=ANA.number)
    shown = await person(operator)
    ids = {fact["audience"]: fact["id"] for fact in shown["facts"] if fact["key"] == "home"}

    assert (await operator.call("DELETE", f"/people/{shown['id']}/facts/{ids['group']}"))[0] == 204

    left = [fact for fact in (await person(operator))["facts"] if fact["key"] == "home"]
    assert [(fact["text"], fact["audience"]) for fact in left] == [("The user lives in Goa.", "private")]
    assert "home" not in await archived(world, group, ANA.number)
    assert "home" in await archived(world, PRIVATE)


@pytest.mark.parametrize(
    "said", ["Panjim", "I live in Panjim.", "The user lives in Panjim.", "“Panjim”.", " Panjim\u200b "]
)
async def test_a_fact_is_put_right(operator: Operator, world: World, said: str) -> None:
    """By the right words or a sentence; what it replaced stays known, and the archive has the new one."""
    await world.live_through(ANA)
    await tell(world, PRIVATE, "home", "The user lives in Goa.")
    shown = await person(operator)
    home = next(fact for fact in shown["facts"] if fact["key"] == "home")

    status, fact = await operator.call("PUT", f"/people/{shown['id']}/facts/{home['id']}", {"text": said})

    assert status == 200, fact
    assert (fact["text"], fact["quote"], fact["found_by"]) == ("The user lives in Panjim.", "", "operator")
    assert [one["text"] for one in fact["earlier"]] == ["The user lives in Goa."]
    assert fact["id"] == home["id"]
    assert (await archived(world, PRIVATE))["home"] == "The user lives in Panjim."
    message = world.message(ANA.telegram(), PRIVATE, "Where do I live?")
    recalled = await world.memory.recall(message, "9999999999999-0")
    assert recalled.recollection.facts["home"] == "The user lives in Panjim."


@pytest.mark.parametrize(
    "body",
    [
        {"text": "I work as a baker."},
        {"text": "maybe"},
        {"text": "My name is Ana."},
        {"text": "\u200b"},
        {"text": "x" * 201},
        {"text": 5},
        {"text": "Panjim", "key": "name"},
        {},
    ],
)
async def test_what_is_no_fact_of_the_kind_changes_nothing(
    operator: Operator, world: World, body: object
) -> None:
    """422 with the field's name."""
    await world.live_through(ANA)
    await tell(world, PRIVATE, "home", "The user lives in Goa.")
    shown = await person(operator)
    home = next(fact for fact in shown["facts"] if fact["key"] == "home")

    status, answer = await operator.call("PUT", f"/people/{shown['id']}/facts/{home['id']}", body)

    assert (status, answer["errors"][0]["field"]) == (422, "key" if "key" in str(body) else "text")
    assert home in (await person(operator))["facts"]


async def test_facts_that_are_changed_at_once_are_not_lost(operator: Operator, world: World) -> None:
    """Each change is of one fact, against whoever else writes at that moment."""
    await world.live_through(ANA)
    for key, text in (("home", "The user lives in Goa."), ("origin", "The user is from Goa.")):
        await tell(world, PRIVATE, key, text)
    shown = await person(operator)
    ids = {fact["key"]: fact["id"] for fact in shown["facts"]}
    path = f"/people/{shown['id']}/facts"

    answers = await asyncio.gather(
        *(operator.call("PUT", f"{path}/{ids['home']}", {"text": f"Panjim {n}"}) for n in range(5)),
        operator.call("DELETE", f"{path}/{ids['origin']}"),
    )

    assert [status for status, _ in answers] == [200] * 5 + [204]
    facts = {fact["key"]: fact for fact in (await person(operator))["facts"]}
    assert "origin" not in facts
    assert len(facts["home"]["earlier"]) == 5


async def test_a_fact_is_put_right_for_the_version_that_was_seen(operator: Operator, world: World) -> None:
    """What was told since is not overwritten by who has not seen it."""
    await world.live_through(ANA)
    await tell(world, PRIVATE, "home", "The user lives in Goa.")
    shown = await person(operator)
    seen = next(fact for fact in shown["facts"] if fact["key"] == "home")
    await tell(world, PRIVATE, "home", "The user lives in Pune.")
    late = Operator(operator.api, operator.headers | {"If-Match": f'"{seen["version"]}"'})
    now = next(fact for fact in (await person(operator))["facts"] if fact["key"] == "home")
    in_time = Operator(operator.api, operator.headers | {"If-Match": f'"{now["version"]}"'})

    path, body = f"/people/{shown['id']}/facts/{seen['id']}", {"text": "Panjim"}
    refused, problem = await late.call("PUT", path, body)
    status, fact = await in_time.call("PUT", path, body)

    assert (refused, problem["code"]) == (412, "stale")
    assert (status, fact["text"]) == (200, "The user lives in Panjim.")
    assert [one["text"] for one in fact["earlier"]] == ["The user lives in Pune."]


async def test_a_fact_does_not_come_back_into_what_was_erased(operator: Operator, world: World) -> None:
    """Who was erased meanwhile stays erased: a correction writes only where the fact still is."""
    await world.live_through(ANA)
    await tell(world, PRIVATE, "home", "The user lives in Goa.")
    shown = await person(operator)
    home = next(fact for fact in shown["facts"] if fact["key"] == "home")
    keys = world.bus.keys(PRIVATE)
    await world.client.delete(keys.facts(PRIVATE))

    status, _ = await operator.call("PUT", f"/people/{shown['id']}/facts/{home['id']}", {"text": "Panjim"})

    assert status == 404
    assert not await world.client.exists(keys.facts(PRIVATE))


async def test_a_persons_data_is_handed_out_as_a_zip(
    operator: Operator, world: World, tmp_path: Path
) -> None:
    """What `hubbub export --person` gives; nothing of it is left on disk, and nothing is of somebody else."""
    await world.live_through(ANA)
    await world.live_through(BEN)
    shown = await person(operator)
    before = _names(world.settings.data)

    with capture_logs() as logs:
        response, body = await bytes_of(operator, f"/people/{shown['id']}/export")

    assert (response.status, response.content_type) == (200, "application/zip")
    disposition = f'attachment; filename="hubbub-{shown["id"]}.zip"'
    assert response.headers["Content-Disposition"] == disposition
    assert response.headers["Cache-Control"] == "no-store"
    assert int(response.headers["Content-Length"]) == len(body)
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        text = b"".join(archive.read(name) for name in archive.namelist()).decode()
    assert ANA.word in text
    assert BEN.word not in text
    file = tmp_path / "ana.zip"
    file.write_bytes(body)
    with ZipArchive(file) as checked:
        assert checked.manifest.scope == "person"
        assert checked.manifest.rows["conversations"] > 2
    assert _names(world.settings.data) == before
    changes = [(line["action"], line["target"]) for line in logs if line["event"] == "admin_changed"]
    assert changes == [("person_exported", shown["id"])]


async def test_an_export_that_fails_leaves_nothing(
    operator: Operator, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told before a byte is sent, and the next one works."""
    await world.live_through(ANA)
    shown = await person(operator)
    before = _names(world.settings.data)

    async def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("hub.app.admin.write_zip", full)
        failed, _ = await bytes_of(operator, f"/people/{shown['id']}/export")
    worked, _ = await bytes_of(operator, f"/people/{shown['id']}/export")

    assert failed.status == 500
    assert failed.content_type == "application/problem+json"
    assert worked.status == 200
    assert _names(world.settings.data) == before


def _names(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*") if not path.name.startswith("hubbub.db")}
