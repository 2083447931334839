"""Erasures over HTTP: asked for, done by the hub's own loop, proved by a receipt; a kill in between is made good."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hub.erasure.eraser import Eraser, ErasureIncomplete, ErasureJob
from hub.erasure.receipt import ErasureReceipt, read_receipt
from tests.hub.api.admin.operating import Operator, until_done
from tests.hub.api.serving import serving
from tests.hub.erasure.conftest import own_redis, redis_folder
from tests.hub.erasure.world import ANA, BEN, BOT, MAILBOX, World
from tests.servers.redis import RedisServer

__all__ = ["own_redis", "redis_folder"]
NAMED = [f"telegram/{BOT}/{ANA.number}", f"email/{MAILBOX}/{ANA.mail}"]
NOBODY = ["telegram/1/2"]


@pytest.fixture
async def world(own_redis: RedisServer, data: Path) -> AsyncIterator[World]:
    """A hub without processes."""
    world = World(own_redis, data)
    yield world
    await world.close()


async def operating(world: World) -> AsyncIterator[Operator]:
    """Run a server on it."""
    async with serving(world.bus.url, world.settings.data, admin=world.settings) as api:
        yield Operator(api, await api.new_key("own", "admin"))


@pytest.fixture
async def operator(world: World) -> AsyncIterator[Operator]:
    """An operator of that hub."""
    async for operator in operating(world):
        yield operator


async def test_a_person_is_erased_and_the_receipt_can_be_checked(
    operator: Operator, world: World, data: Path, redis_folder: Path
) -> None:
    """In the background; the answers and the log name nobody, and of somebody else nothing goes."""
    await world.live_through(ANA)
    await world.live_through(BEN)
    before = await world.picture_of(BEN)

    with capture_logs() as logs:
        status, begun = await operator.call("POST", "/erasures", {"identities": NAMED})
        done = await until_done(operator, begun["id"])

    assert (status, begun["state"], begun["receipt"]) == (202, "erasing", None)
    receipt = read_receipt(json.dumps(done["receipt"]).encode())
    receipt.verify(await world.eraser().key())
    assert receipt.id == begun["id"]
    assert sum(receipt.left.values()) == 0
    assert receipt.removed["memory"] > 0
    assert await world.files_hold(data, redis_folder, words=[ANA.word, ANA.mail, f":{ANA.number}"]) == []
    assert await world.picture_of(BEN) == before
    changes = [(line["action"], line["target"]) for line in logs if line["event"] == "admin_changed"]
    assert changes == [("erasure_begun", begun["id"])]
    # What is stopped is logged by its conversation, as at any time.
    own = str([line for line in logs if line["event"] in ("admin_changed", "request_answered")])
    assert not [word for word in (ANA.word, ANA.number, ANA.mail) if word in own]


async def test_whether_anybody_is_known_makes_no_difference(operator: Operator, world: World) -> None:
    """The same answer but for id and time, also the second time."""
    await world.live_through(ANA)
    answers = []
    for identities in (NAMED, NOBODY, NAMED, NOBODY):
        status, answer = await operator.call("POST", "/erasures", {"identities": identities})
        done = await until_done(operator, answer["id"])
        assert done["state"] == "done"
        answers.append((status, {**answer, "id": "", "begun_at": ""}))

    assert [answer == answers[0] for answer in answers] == [True] * 4
    assert answers[0][0] == 202


async def test_what_waits_is_erased_with_the_rest(operator: Operator, world: World) -> None:
    """A message on the queue, and one that is being worked on."""
    private = f"telegram-{BOT}-{ANA.number}"
    await world.ask(ANA.telegram(), private, f"Running {ANA.word}")
    await world.enter("inbound", private)
    await world.ask(ANA.telegram(), private, f"Behind it {ANA.word}")

    status, begun = await operator.call("POST", "/erasures", {"identities": NAMED})
    done = await until_done(operator, begun["id"])

    assert status == 202
    assert done["receipt"]["removed"]["queues"] >= 2
    assert await world.bus.backlog() == 0


async def test_an_erasure_outlives_the_process(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was noted and the process ended; the next one finishes it under the same id."""
    await world.live_through(ANA)
    begun: dict[str, str] = {}

    with monkeypatch.context() as patched:
        patched.setattr(Eraser, "resume", _never)
        async for operator in operating(world):
            _, begun = await operator.call("POST", "/erasures", {"identities": NAMED})
            assert (await operator.call("GET", f"/erasures/{begun['id']}"))[1]["state"] == "erasing"
    async for operator in operating(world):
        done = await until_done(operator, begun["id"])

    assert done["receipt"]["id"] == begun["id"]
    assert await world.files_hold(words=[ANA.word]) == []


async def test_an_erasure_that_cannot_be_finished_holds_up_no_other(
    operator: Operator, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays to be repeated, and is not told to be done."""
    finish = Eraser._finish

    async def incomplete(eraser: Eraser, job: ErasureJob) -> ErasureReceipt:
        if job.id == stuck["id"]:
            raise ErasureIncomplete("something of the person is still in: history")
        return await finish(eraser, job)

    stuck: dict[str, str] = {"id": ""}
    with monkeypatch.context() as patched:
        patched.setattr(Eraser, "resume", _never)
        _, stuck = await operator.call("POST", "/erasures", {"identities": NOBODY})
    monkeypatch.setattr(Eraser, "_finish", incomplete)
    await world.live_through(ANA)

    _, begun = await operator.call("POST", "/erasures", {"identities": NAMED})
    done = await until_done(operator, begun["id"])

    assert done["receipt"]["removed"]["memory"] > 0
    assert (await operator.call("GET", f"/erasures/{stuck['id']}"))[1]["state"] == "erasing"
    listed = {
        state: [one["id"] for one in (await operator.pages("/erasures", state=state))[0]]
        for state in ("erasing", "done")
    }
    assert listed == {"erasing": [stuck["id"]], "done": [begun["id"]]}


async def _never(eraser: Eraser, *, wait: bool = True) -> list[ErasureReceipt]:
    await asyncio.sleep(0)
    return []


async def test_erasures_are_listed_in_pages(operator: Operator) -> None:
    """Oldest first, each once."""
    ids = []
    for number in range(3):
        _, answer = await operator.call("POST", "/erasures", {"identities": [f"telegram/1/{number}"]})
        ids.append(answer["id"])

    pages = await operator.pages("/erasures", limit="2")

    for erasure in ids:
        await until_done(operator, erasure)
    done = await operator.pages("/erasures", limit="2", state="done")
    assert [[one["id"] for one in page] for page in pages] == [ids[:2], ids[2:]]
    assert [[one["id"] for one in page] for page in done] == [ids[:2], ids[2:]]
    assert await operator.pages("/erasures", state="compacting") == [[]]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"identities": []},
        {"identities": ["ana"]},
        {"identities": ["telegram/1"]},
        {"identities": ["telegram/1/2", "x"]},
        {"identities": ["//"]},
        {"identities": "telegram/1/2"},
        {"identities": [1]},
        {"identities": [""]},
        {"identities": ["telegram/1/" + "2" * 500]},
        {"identities": ["telegram/1/2"] * 21},
        {"identities": ["telegram/1/2"], "id": "x"},
        {"identities": ["telegram/1/2"], "stage": "done"},
    ],
)
async def test_what_names_nobody_is_refused(operator: Operator, body: object) -> None:
    """With the field's name; nothing is begun."""
    status, answer = await operator.call("POST", "/erasures", body)

    assert status == 422
    assert answer["errors"][0]["field"].startswith(("identities", "id", "stage"))
    assert await operator.pages("/erasures") == [[]]
