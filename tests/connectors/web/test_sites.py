"""Sites with a key: tickets, signed visitors and limits, from the first request to the bus."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import ClientSession
from pydantic import SecretStr, ValidationError

from connectors.web.tickets import TICKET_S, Tickets
from connectors.web.visitors import Visitor
from hub.messages import utc_now
from hub.web_settings import WebSettings, WebSiteSettings
from hubbub.testing import MemoryStore
from tests.connectors.web.edges import KEY, Bus, HubProcess
from tests.connectors.web.page import open_page, start_session
from tests.connectors.web.signing import SECRET, sign, soon

SHOP, BLOG, OPEN = "https://shop.example", "https://blog.example", "https://open.example"
SETTINGS = WebSettings(
    allowed_origins=(OPEN,),
    sites=(
        WebSiteSettings(
            key="shop",
            origins=(SHOP,),
            title="Shop help",
            greeting="Welcome!",
            messages_per_day=5,
            messages_per_visitor_day=3,
            identity_secret=SecretStr(SECRET.decode()),
        ),
        WebSiteSettings(key="blog", origins=(BLOG,)),
    ),
)


@pytest.fixture
async def sites(bus: Bus) -> AsyncIterator[HubProcess]:
    """Run a hub with two sites that have keys and one that has none."""
    process = HubProcess(bus, SETTINGS)
    await process.start()
    yield process
    await process.stop()


async def ticket_of(hub: HubProcess, site: str = "shop", origin: str = SHOP, **fields: Any) -> str:
    """Return a ticket."""
    status, answer = await start_session(hub, origin, site=site, **fields)
    assert status == 200, answer
    return str(answer["ticket"])


async def test_ticket_opens_a_socket_of_its_site(sites: HubProcess, bus: Bus) -> None:
    """With title and greeting of the site, and a token that brings the visitor back."""
    status, answer = await start_session(sites, SHOP, site="shop")
    async with open_page(sites, ticket=answer["ticket"], origin=SHOP) as page:
        await page.ask("m1")
        conversation = page.ready["conversation"]
    again = await ticket_of(sites, token=answer["token"])
    async with open_page(sites, ticket=again, origin=SHOP) as page:
        assert page.ready["conversation"] == conversation

    message = bus.messages[await bus.next_turn()]
    assert status == 200
    assert (answer["title"], answer["greeting"], answer["ticket_s"]) == ("Shop help", "Welcome!", 60)
    assert (message.address.account, message.address.is_verified) == ("shop", True)


@pytest.mark.parametrize(
    ("site", "origin"),
    [("nobody", SHOP), ("shop", BLOG), ("shop", "https://evil.example"), ("SHOP", SHOP), ("\ud800", SHOP)],
)
async def test_unknown_site_and_wrong_origin_look_alike(sites: HubProcess, site: str, origin: str) -> None:
    """Nobody finds out by asking which keys there are."""
    status, answer = await start_session(sites, origin, site=site)

    assert (status, answer) == (404, {"error": {"code": "unknown_site"}})


async def test_page_without_a_key_needs_a_welcome_origin(sites: HubProcess) -> None:
    """As for the socket."""
    assert (await start_session(sites, OPEN))[0] == 200
    assert (await start_session(sites))[0] == 200
    assert await start_session(sites, SHOP) == (403, {"error": {"code": "origin_not_allowed"}})


async def test_ticket_is_good_once(sites: HubProcess) -> None:
    """Whoever reads it on the way comes too late."""
    ticket = await ticket_of(sites)
    async with open_page(sites, ticket=ticket, origin=SHOP):
        pass
    async with open_page(sites, origin=SHOP, sign_in=False) as page:
        await page.send(t="auth", ticket=ticket)

        assert await page.receive() == {"t": "err", "code": "bad_ticket"}
        assert await page.closed() == 4401


@pytest.mark.parametrize(
    "ticket",
    [
        Tickets(KEY, MemoryStore()).issue(Visitor("0" * 32, "shop"), SHOP, utc_now() - timedelta(seconds=61)),
        Tickets(KEY, MemoryStore()).issue(Visitor("0" * 32, "blog"), BLOG),
        Tickets(KEY, MemoryStore()).issue(Visitor("0" * 32, "gone"), SHOP),
        Tickets(b"another key of 16+ bytes", MemoryStore()).issue(Visitor("0" * 32, "shop"), SHOP),
        "t1.e30." + "A" * 43,
        "t1.",
        "x" * 9000,
    ],
    ids=["expired", "of another origin", "of a site that is gone", "of another key", "forged", "cut", "long"],
)
async def test_ticket_that_is_not_good_closes(sites: HubProcess, bus: Bus, ticket: str) -> None:
    """4401, and nothing else is read."""
    async with open_page(sites, origin=SHOP, sign_in=False) as page:
        await page.send(t="auth", ticket=ticket)

        assert await page.closed() == 4401
    assert not bus.messages


async def test_ticket_lasts_for_a_minute() -> None:
    """To the second, and not when it was changed."""
    now, store = utc_now().replace(microsecond=0), MemoryStore()
    tickets, visitor = Tickets(KEY, store), Visitor("0" * 32, "shop", name="Ada", email="ada@example.org")
    in_time, late, changed = (tickets.issue(visitor, SHOP, now) for _ in range(3))

    redeemed = await tickets.redeem(in_time, SHOP, now + timedelta(seconds=TICKET_S - 1))

    assert redeemed == visitor
    assert redeemed is not None
    assert (redeemed.name, redeemed.email) == ("Ada", "ada@example.org")
    assert await tickets.redeem(late, SHOP, now + timedelta(seconds=TICKET_S)) is None
    assert await tickets.redeem(changed[:-1] + ("A" if changed[-1] != "A" else "B"), SHOP, now) is None


async def test_page_of_a_site_with_a_key_needs_a_ticket(sites: HubProcess) -> None:
    """Its origin alone opens no conversation: the limits belong to the key."""
    async with open_page(sites, origin=SHOP, sign_in=False) as page:
        await page.send(t="auth", token="")

        assert await page.closed() == 4401


async def test_signed_person_is_the_same_on_every_browser(sites: HubProcess, bus: Bus) -> None:
    """One conversation, told apart from all others; the bus knows that the site vouches for the person."""
    conversations = []
    for number in range(2):
        ticket = await ticket_of(sites, identity=sign(sub="42", exp=soon(), email="ada@example.org"))
        async with open_page(sites, ticket=ticket, origin=SHOP) as page:
            await page.ask(f"m{number}")
            conversations.append(page.ready["conversation"])
            assert page.ready["token"] == ""
            assert page.ready["person"] == {"name": "", "email": "ada@example.org"}

    message = bus.messages[await bus.next_turn()]
    assert (message.address.person, message.address.is_verified) == ("site:shop:42", True)
    assert len(set(conversations)) == 1


async def test_token_of_the_browser_does_not_open_the_persons_conversation(sites: HubProcess) -> None:
    """Who has signed out of the site leaves nothing behind for the next one at the same machine."""
    _, signed = await start_session(sites, SHOP, site="shop", identity=sign(sub="42", exp=soon()))
    async with open_page(sites, ticket=signed["ticket"], origin=SHOP) as person:
        pass
    async with open_page(
        sites, ticket=await ticket_of(sites, token=signed["token"]), origin=SHOP
    ) as somebody:
        assert somebody.ready["conversation"] != person.ready["conversation"]


async def test_subject_that_looks_like_a_visitor_is_not_that_visitor(sites: HubProcess) -> None:
    """A site's own ids may be 32 hexadecimal digits, too."""
    async with open_page(sites, ticket=await ticket_of(sites), origin=SHOP) as page:
        visitor = page.token.split(".")[1]
        conversation = page.ready["conversation"]
    ticket = await ticket_of(sites, identity=sign(sub=visitor, exp=soon()))
    async with open_page(sites, ticket=ticket, origin=SHOP) as person:
        assert person.ready["conversation"] != conversation


@pytest.mark.parametrize(
    ("site", "origin", "identity"),
    [
        ("shop", SHOP, "made up"),
        ("shop", SHOP, sign({"alg": "none"}, sub="42", exp=soon())),
        ("shop", SHOP, sign(sub="42", exp=soon(), secret=b"another key of at least 32 bytes!")),
        ("shop", SHOP, sign(sub="42", exp=soon() - 4300)),
        ("blog", BLOG, sign(sub="42", exp=soon())),
        ("", OPEN, sign(sub="42", exp=soon())),
    ],
    ids=["no token", "alg none", "wrong key", "expired", "site without secret", "page without key"],
)
async def test_identity_nobody_signed_gets_no_ticket(
    sites: HubProcess, site: str, origin: str, identity: str
) -> None:
    """Rather none than one for somebody else."""
    assert await start_session(sites, origin, site=site, identity=identity) == (
        401,
        {"error": {"code": "bad_identity"}},
    )


async def test_second_sign_in_as_another_person_closes(sites: HubProcess) -> None:
    """A socket belongs to one person; a new ticket of the same one does no harm."""
    mine, mine_again, other = [
        await ticket_of(sites, identity=sign(sub=subject, exp=soon())) for subject in ("1", "1", "2")
    ]
    async with open_page(sites, ticket=mine, origin=SHOP) as page:
        await page.send(t="auth", ticket=mine_again)
        await page.send(t="ping")
        assert (await page.receive())["t"] == "pong"
        await page.send(t="auth", ticket=other)

        assert await page.closed() == 4403


async def test_visitor_gets_so_many_messages_in_a_day(sites: HubProcess, bus: Bus) -> None:
    """A message that comes again counts once, also at the limit; tomorrow there are new ones."""
    token = ""
    async with open_page(sites, ticket=await ticket_of(sites), origin=SHOP) as page:
        handles = [await page.ask(f"m{number}") for number in range(3)]
        assert await page.ask("m2") == handles[2]
        await page.send(t="message", id="m3", text="Hi")
        assert await page.receive() == {"t": "err", "code": "day_limit", "id": "m3"}
        token = page.token
    bus.store.now += 86_401
    async with open_page(sites, ticket=await ticket_of(sites, token=token), origin=SHOP) as page:
        await page.ask("m3")

    assert len(bus.messages) == 4


async def test_site_gets_so_many_messages_in_a_day(sites: HubProcess, bus: Bus) -> None:
    """Made-up visitors share them; other sites have their own."""
    answers = []
    for _ in range(3):
        async with open_page(sites, ticket=await ticket_of(sites), origin=SHOP) as page:
            for number in range(2):
                await page.send(t="message", id=f"m{number}", text="Hi")
                answers.append(await page.receive())
    async with open_page(sites, ticket=await ticket_of(sites, "blog", BLOG), origin=BLOG) as page:
        await page.ask("m1")

    assert [answer.get("code") for answer in answers] == [None] * 5 + ["day_limit"]
    assert len(bus.messages) == 6


async def test_site_over_its_day_takes_no_new_visitors(sites: HubProcess, bus: Bus) -> None:
    """429; who was there before comes back to the answers, and tomorrow everybody does."""
    token = ""
    for _ in range(2):
        async with open_page(sites, ticket=await ticket_of(sites), origin=SHOP) as page:
            for number in range(3):
                await page.send(t="message", id=f"m{number}", text="Hi")
                await page.receive()
            token = page.token

    status, refusal = await start_session(sites, SHOP, site="shop")
    known, _ = await start_session(sites, SHOP, site="shop", token=token)
    other, _ = await start_session(sites, BLOG, site="blog")
    bus.store.now += 86_401
    tomorrow, _ = await start_session(sites, SHOP, site="shop")

    assert (status, refusal) == (429, {"error": {"code": "day_limit"}})
    assert (known, other, tomorrow) == (200, 200, 200)


async def test_message_that_was_not_stored_counts_for_nothing(sites: HubProcess, bus: Bus) -> None:
    """It is sent again, and has its place."""
    async with open_page(sites, ticket=await ticket_of(sites), origin=SHOP) as page:
        for number in range(3):
            bus.fail_next()
            await page.send(t="message", id=f"m{number}", text="Hi")
            assert (await page.receive())["code"] == "unavailable"
            await page.ask(f"m{number}", "Hi")

    assert len(bus.messages) == 3


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "bad_json"),
        (b"{", 400, "bad_json"),
        (b"[]", 400, "bad_json"),
        (b"[" * 10_000, 400, "bad_json"),
        (b"\xff", 400, "bad_json"),
        (b'{"site": 5}', 400, "bad_type"),
        (b'{"token": null}', 400, "bad_type"),
        (b'{"token": "v1.x"}', 401, "bad_token"),
        (b'{"a": "' + b"x" * 17_000 + b'"}', 413, "too_large"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_request_that_cannot_be_used_gets_its_code(
    sites: HubProcess, body: bytes, status: int, code: str
) -> None:
    """And no ticket."""
    headers = {"Origin": OPEN}
    async with (
        ClientSession() as client,
        client.post(f"{sites.url}/widget/session", data=body, headers=headers) as response,
    ):
        assert (response.status, await response.json()) == (status, {"error": {"code": code}})


async def test_only_welcome_pages_read_the_answer(sites: HubProcess) -> None:
    """A browser shows an answer to the page whose origin stands in it, and sends a file after asking."""
    url = f"{sites.url}/widget/session"
    async with ClientSession() as client:
        async with client.post(url, json={"site": "shop"}, headers={"Origin": SHOP}) as response:
            assert response.headers["Access-Control-Allow-Origin"] == SHOP
            assert response.headers["Cache-Control"] == "no-store"
            assert "Origin" in response.headers["Vary"]
        async with client.post(url, json={}, headers={"Origin": "https://evil.example"}) as response:
            assert "Access-Control-Allow-Origin" not in response.headers
        async with client.options(f"{sites.url}/widget/files", headers={"Origin": SHOP}) as response:
            assert response.status == 204
            assert "X-Visitor" in response.headers["Access-Control-Allow-Headers"]
        async with client.options(url, headers={"Origin": "https://evil.example"}) as response:
            assert response.status == 403


async def test_sign_ins_of_one_address_are_limited(sites: HubProcess) -> None:
    """A program that makes visitors up is told to wait."""
    statuses = [(await start_session(sites, OPEN))[0] for _ in range(120)]

    assert statuses[:60] == [200] * 60
    assert statuses.count(429) > 20


async def test_store_that_is_away_is_said(sites: HubProcess, bus: Bus) -> None:
    """The ticket cannot be checked for a second use: the page comes again."""
    ticket = await ticket_of(sites)
    bus.store.fail()
    async with open_page(sites, origin=SHOP, sign_in=False) as page:
        await page.send(t="auth", ticket=ticket)

        assert await page.receive() == {"t": "err", "code": "unavailable", "retry_ms": 2000}
        assert await page.closed() == 1013


@pytest.mark.parametrize(
    "site",
    [
        {"key": "hub", "origins": [SHOP]},
        {"key": "", "origins": [SHOP]},
        {"key": "a b", "origins": [SHOP]},
        {"key": "shop", "origins": []},
        {"key": "shop", "origins": [SHOP], "messages_per_day": -1},
        {"key": "shop", "origins": [SHOP], "identity_secret": "short"},
        {"key": "shop", "origins": [SHOP], "secret": "x"},
    ],
)
def test_site_that_is_wrong_fails_at_start(site: dict[str, Any]) -> None:
    """A typo is told, not guessed at."""
    with pytest.raises(ValidationError):
        WebSettings.model_validate({"sites": [site]})


def test_keys_are_there_once() -> None:
    """Two sites of one key would share their limits by accident."""
    with pytest.raises(ValidationError, match="shop is there more than once"):
        WebSettings.model_validate({"sites": [{"key": "shop", "origins": [SHOP]}] * 2})
