"""Dead letters by HTTP."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from hub.bus.bus import Bus
from hub.messages import Turn, utc_now
from hub.operators.roles import ROLES
from tests.hub.admin.giving_up import give_up, give_up_reply, message, waiting
from tests.hub.api.admin.operating import Operator, operating, signed_in
from tests.hub.operators.desk import CHEAP
from tests.servers.redis import RedisServer

WORDS = "what I wrote is nobody's business"


@pytest.fixture
async def bus(bare_operator: Operator) -> Bus:
    """The bus of the operator's hub, with a message and a reply that were given up."""
    bus = bare_operator.api.parts.bus
    await give_up(bus, message("a", WORDS))
    await give_up_reply(bus, message("b", "second", connector="email"))
    return bus


async def test_letters_are_listed_without_what_was_said(bare_operator: Operator, bus: Bus) -> None:
    """By page and filter; the text is shown to whoever asks for it."""
    for number in range(5):
        await give_up(bus, message("c", f"more {number}"), "other reason")

    pages = await bare_operator.pages("/dead", limit="3")
    found = [letter for page in pages for letter in page]

    assert [len(page) for page in pages] == [3, 3, 1]
    assert len({letter["id"] for letter in found}) == 7
    assert [letter["conversation"] for letter in found] == ["c"] * 5 + ["b", "a"]
    assert found[-1] | {"id": "", "given_up_at": "", "turn": "", "size_bytes": 0} == {
        "id": "",
        "kind": "message",
        "given_up_at": "",
        "connector": "telegram",
        "conversation": "a",
        "turn": "",
        "attempts": 1,
        "reason": "5 attempts failed",
        "size_bytes": 0,
    }
    [[reply]] = await bare_operator.pages("/dead", connector="email")
    assert (reply["kind"], reply["reason"]) == ("reply", "given up: no route")
    assert await bare_operator.pages("/dead", reason="other", conversation="a") == [[]]
    path = f"/dead/{found[-1]['id']}"
    _, plain = await bare_operator.call("GET", path)
    _, told = await bare_operator.call("GET", path, query={"text": "true"})
    assert (plain["text"], told["text"]) == (None, WORDS)


QUERIES: list[tuple[dict[str, str], int]] = [
    ({"since": "2026-01-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, 422),
    ({"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, 422),
    ({"since": "9999-01-01T00:00:00Z"}, 422),
    ({"since": "2026-01-01T00:00:00"}, 422),
    ({"since": "yesterday"}, 422),
    ({"until": "1e400"}, 422),
    ({"state": "new"}, 400),
    ({"cursor": "MC4xLTE="}, 200),
    ({"cursor": "MC4x"}, 400),
    ({"since": "2026-01-01T00:00:00+05:30"}, 200),
]


async def test_filters_are_read_strictly(bare_operator: Operator) -> None:
    """Reversed spans, years nobody means, times without a zone, fields there are not."""
    for query, status in QUERIES:
        assert (await bare_operator.call("GET", "/dead", query=query))[0] == status, query


async def test_a_letter_is_put_back_once(bare_operator: Operator, bus: Bus) -> None:
    """The second time is a conflict, also for who wants to drop it; what is not there is not found."""
    [[reply, asked]] = await bare_operator.pages("/dead")
    path = f"/dead/{asked['id']}"

    first = await bare_operator.call("POST", f"{path}/replay")
    again = await bare_operator.call("POST", f"{path}/replay")
    dropped = await bare_operator.call("DELETE", path)
    sent = await bare_operator.call("POST", f"/dead/{reply['id']}/replay")

    assert first[0] == 202
    assert first[1]["turn"] != asked["turn"]
    assert (again[0], again[1]["code"]) == (409, "already_replayed")
    assert (dropped[0], dropped[1]["code"]) == (409, "already_replayed")
    assert sent == (202, {"id": reply["id"], "turn": reply["turn"]})
    assert await waiting(bus, "a") == [WORDS]
    for odd in ("0.1-1", "7", "x", "99.1-1", "0.1-1%00"):
        assert (await bare_operator.call("POST", f"/dead/{odd}/replay"))[0] in (400, 404)


async def test_what_cannot_go_back_is_told(bare_operator: Operator, bus: Bus) -> None:
    """Whose sender is being erased, what nobody can read, and what finds no room."""
    client: Any = bus.redis
    fields = {"queue": "inbound", "lane": "x", "entry": "1-1", "attempts": 0, "reason": "r", "body": "{"}
    await client.xadd(bus.keys("x").dead, fields)
    await client.set(bus.keys("b").erased("b"), 1)
    [[junk, reply, asked]] = await bare_operator.pages("/dead")
    for number in range(bus.settings.max_lane):
        await client.rpush(bus.keys("a").lane("inbound", "a"), f"{number}-1")

    answers = [
        await bare_operator.call("POST", f"/dead/{letter['id']}/replay") for letter in (junk, reply, asked)
    ]
    _, bulk = await bare_operator.call("POST", "/dead", {"action": "replay", "all": True})
    _, shown = await bare_operator.call("GET", f"/dead/{junk['id']}", query={"text": "true"})

    codes = ["not_replayable", "being_erased", "conversation_full"]
    assert [(status, answer["code"]) for status, answer in answers] == [
        *((409, codes[0]), (410, codes[1])),
        (503, codes[2]),
    ]
    assert (bulk["done"], bulk["left"], bulk["is_full"]) == (0, 3, False)
    assert sorted(one["code"] for one in bulk["refused"]) == sorted(codes)
    assert shown["text"] == "{"


async def test_many_are_put_back_or_dropped(bare_operator: Operator, bus: Bus) -> None:
    """Which ones has to be said; none are taken by a slip of the pen."""
    for body in (
        {},
        {"all": False},
        {"all": True, "reason": "x"},
        {"all": "true"},
        {"since": None},
        {"reason": ""},
        {"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"},
    ):
        for action in ("replay", "drop"):
            sent = {"action": action, **body}
            assert (await bare_operator.call("POST", "/dead", sent))[0] == 422, sent
    later = {"since": utc_now().replace(year=2100).isoformat()}

    async def worked(action: str, **which: Any) -> tuple[int, int, int]:
        status, answer = await bare_operator.call("POST", "/dead", {"action": action, **which})
        return status, answer["done"], answer["left"]

    assert (await bare_operator.call("POST", "/dead", {"action": "keep", "all": True}))[0] == 422
    assert await worked("drop", **later) == (200, 0, 0)
    assert await worked("replay", conversation="a") == (200, 1, 0)
    assert await worked("drop", all=True) == (200, 1, 0)
    assert await bare_operator.pages("/dead") == [[]]


async def test_what_was_said_is_for_operators(redis: Redis, redis_server: RedisServer, data: Path) -> None:
    """Who only sees is told why something was given up, and not what was said in it."""
    async with operating(redis_server, data, operators=CHEAP) as admin:
        await give_up(admin.api.parts.bus, message("a", WORDS))
        seen = {}
        for role in ROLES:
            who = await signed_in(admin.api, role)
            [[letter]] = await who.pages("/dead")
            path = f"/dead/{letter['id']}"
            assert (await who.call("GET", path))[1]["text"] is None
            seen[role] = await who.call("GET", path, query={"text": "true"})

    assert (seen["viewer"][0], seen["viewer"][1]["code"]) == (403, "role_needed")
    assert WORDS not in repr(seen["viewer"])
    assert [seen[role][1]["text"] for role in ("operator", "admin")] == [WORDS, WORDS]


async def test_what_was_put_back_is_answered(bare_operator: Operator) -> None:
    """As if it had come now; its client finds the answer in the session."""
    api = bare_operator.api
    await give_up(api.parts.bus, message("a", "again please", connector="api"))
    [[letter]] = await bare_operator.pages("/dead")

    await bare_operator.call("POST", f"/dead/{letter['id']}/replay")
    await api.start_engine()

    turns: list[Turn] = []
    async with asyncio.timeout(20):
        while not turns:
            turns = await api.parts.bus.history.turns("a")
    assert [turn.answer for turn in turns] == ["You said: again please"]
