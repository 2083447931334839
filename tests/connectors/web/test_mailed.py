"""A visitor who has gone gets the answer by mail, once, and never while a page is open."""

import asyncio
import contextlib
from datetime import timedelta

import pytest

from connectors.web.mailed import (
    ADDRESSES_PER_DAY,
    ADDRESSES_PER_NETWORK_DAY,
    HANDING_OVER_S,
    LEAVE_S,
    MAILS_PER_DAY,
    PRESENT_S,
    WAIT_S,
    MailedAnswers,
)
from hub.errors import BusError, RetryLater
from hub.messages import Address, OutboundMessage, utc_now
from hubbub.testing import MemoryStore
from tests.connectors.web.edges import Bus, HubProcess, NoProgress
from tests.connectors.web.memory import Letters
from tests.connectors.web.page import open_page

ADA = "ada@example.org"


class Post:
    """Mailed answers on a store and a clock that the test moves together."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.letters = Letters()
        self.mailed = self.process()

    def process(self) -> MailedAnswers:
        """Return another process of the same hub."""
        begin = utc_now()
        return MailedAnswers(self.store, self.letters, now=lambda: begin + timedelta(seconds=self.store.now))

    async def pass_time(self, seconds: float) -> None:
        """Let time pass and look."""
        self.store.now += seconds
        await self.mailed.look()


@pytest.fixture
def post() -> Post:
    """Return an empty one."""
    return Post()


def reply(turn: str = "1-0", **fields: str) -> OutboundMessage:
    """Return an answer to a visitor."""
    return OutboundMessage.model_validate(
        {
            "reply_id": f"{turn}:0",
            "turn": turn,
            "conversation": "web-hub-a",
            "address": Address(connector="web", account="hub", chat="a", person="a"),
            "text": f"Answer {turn}",
        }
        | fields
    )


async def leave_and_close(post: Post, email: str = ADA, conversation: str = "web-hub-a") -> None:
    """Leave an address and be gone."""
    await post.mailed.leave(conversation, email)
    post.store.now += PRESENT_S


async def test_answer_goes_by_mail_when_nobody_took_it(post: Post) -> None:
    """After a minute, once, whoever looks how often."""
    await leave_and_close(post)
    await post.mailed.expect(reply())
    await post.pass_time(WAIT_S - 1)
    assert post.letters.sent == []

    await post.pass_time(1)
    await post.pass_time(1)
    await post.mailed.expect(reply())
    await post.pass_time(WAIT_S)

    assert post.letters.sent == [(ADA, "Answer 1-0")]


async def test_answer_a_page_has_taken_is_not_mailed(post: Post) -> None:
    """Also when its reply is sent again after a crash."""
    await leave_and_close(post)
    await post.mailed.expect(reply())
    await post.mailed.got("1-0")
    await post.mailed.expect(reply())
    await post.pass_time(WAIT_S)

    assert post.letters.sent == []
    assert post.store.sets == {"due": set()}


async def test_answer_waits_while_a_page_is_open(post: Post) -> None:
    """One that is open and silent may just be asleep; once it is gone the answer goes."""
    await leave_and_close(post)
    await post.mailed.expect(reply())
    for _ in range(10):
        await post.mailed.note_presence("web-hub-a")
        await post.pass_time(PRESENT_S - 1)
    assert post.letters.sent == []

    await post.pass_time(PRESENT_S)

    assert post.letters.sent == [(ADA, "Answer 1-0")]


async def test_deadline_survives_a_restart(post: Post) -> None:
    """It lies in the store; another process meets it, and two of them meet it once."""
    await leave_and_close(post)
    await post.mailed.expect(reply())
    post.store.now += WAIT_S
    post.mailed = post.process()
    other = post.process()

    post.store.now += 1
    await post.mailed.look()
    await other.look()

    assert post.letters.sent == [(ADA, "Answer 1-0")]


@pytest.mark.parametrize("failure", [BusError("away"), RetryLater(5, "away")])
async def test_mail_that_could_not_be_handed_over_is_tried_again(post: Post, failure: Exception) -> None:
    """What certainly was not sent may be sent."""
    post.letters.failures = [failure]
    await leave_and_close(post)
    await post.mailed.expect(reply())
    await post.pass_time(WAIT_S)
    assert post.letters.sent == []

    await post.pass_time(HANDING_OVER_S)

    assert post.letters.sent == [(ADA, "Answer 1-0")]


async def test_store_that_goes_away_in_the_middle_costs_no_mail(post: Post) -> None:
    """It lies on the same server as the outbox: both fail together, at any step."""
    await leave_and_close(post)
    await post.mailed.expect(reply())
    post.store.now += WAIT_S
    steps = 0
    while not post.letters.sent:
        steps += 1
        post.store.fail_after(steps)
        with contextlib.suppress(BusError):
            await post.mailed.look()
        post.store.failure = None
        post.store.fail_after(None)
        post.store.now += HANDING_OVER_S

    assert steps > 3
    assert post.letters.sent == [(ADA, "Answer 1-0")]


async def test_answer_is_mailed_after_a_long_outage(post: Post) -> None:
    """Nobody was there, so nobody has it."""
    await leave_and_close(post)
    await post.mailed.expect(reply())
    await post.pass_time(2 * LEAVE_S)

    assert post.letters.sent == [(ADA, "Answer 1-0")]


async def test_what_a_stranger_wrote_is_not_mailed(post: Post) -> None:
    """Anybody can leave anybody's address; only where the site has signed it the question goes along."""
    for turn, is_known in (("1-0", False), ("2-0", True)):
        conversation = f"web-hub-{turn}"
        await post.mailed.leave(conversation, f"a{turn}@example.org", is_known=is_known)
        await post.mailed.expect(reply(turn, conversation=conversation, question="Buy at spam.example!"))
    post.store.now += PRESENT_S
    await post.pass_time(WAIT_S)

    assert [message.question for message in post.letters.messages] == ["", "Buy at spam.example!"]


async def test_addresses_of_one_network_are_counted(post: Post) -> None:
    """Making up visitors buys no more of them."""
    taken = [
        await post.mailed.leave(f"web-hub-{number}", f"a{number}@example.org", "192.0.2.7")
        for number in range(ADDRESSES_PER_NETWORK_DAY + 1)
    ]

    assert taken == [True] * ADDRESSES_PER_NETWORK_DAY + [False]


async def test_mail_on_its_way_outlives_the_stop(post: Post) -> None:
    """A process that ends hands over what it has begun."""
    post.letters.may_end.clear()
    await leave_and_close(post)
    await post.mailed.expect(reply())
    post.store.now += WAIT_S
    running = asyncio.create_task(post.mailed.run())
    async with asyncio.timeout(30):
        await post.letters.begun.wait()
        running.cancel()
        await asyncio.sleep(0)
        post.letters.may_end.set()
        await asyncio.gather(running, return_exceptions=True)

    assert running.cancelled()
    assert post.letters.sent == [(ADA, "Answer 1-0")]
    assert post.store.sets == {"due": set()}


async def test_one_address_gets_so_many_mails_in_a_day(post: Post) -> None:
    """Whoever leaves it, in whatever letters, with whatever tag."""
    for number in range(MAILS_PER_DAY + 2):
        conversation = f"web-hub-{number}"
        await leave_and_close(post, ADA.upper() if number % 2 else f"ada+{number}@example.org", conversation)
        await post.mailed.expect(reply(f"{number}-0", conversation=conversation))
    await post.pass_time(WAIT_S)
    await post.pass_time(WAIT_S)

    assert len(post.letters.sent) == MAILS_PER_DAY


async def test_visitor_leaves_so_many_addresses_in_a_day(post: Post) -> None:
    """Nobody sends mail to a list by way of the hub."""
    taken = [
        await post.mailed.leave("web-hub-a", f"a{number}@example.org")
        for number in range(ADDRESSES_PER_DAY + 1)
    ]

    assert taken == [True] * ADDRESSES_PER_DAY + [False]


async def test_address_is_kept_for_a_day_and_can_be_taken_back(post: Post) -> None:
    """Without one nothing waits and nothing is written."""
    await post.mailed.expect(reply("1-0"))
    await leave_and_close(post)
    await post.mailed.leave("web-hub-a", "")
    await post.mailed.expect(reply("2-0"))
    await leave_and_close(post)
    post.store.now += LEAVE_S
    await post.mailed.expect(reply("3-0"))
    await post.pass_time(WAIT_S)

    assert post.letters.sent == []
    assert post.store.sets == {}


async def test_what_the_visitor_says_last_counts(post: Post) -> None:
    """Also for an answer that waits already: another address, or none."""
    for conversation, email in (("web-hub-a", "grace@example.org"), ("web-hub-b", "")):
        await leave_and_close(post, ADA, conversation)
        await post.mailed.expect(reply(f"{conversation[-1]}-0", conversation=conversation))
        await leave_and_close(post, email, conversation)
    await post.pass_time(WAIT_S)

    assert post.letters.sent == [("grace@example.org", "Answer a-0")]
    assert post.store.sets == {"due": set()}


async def test_cancelled_turn_is_not_mailed(post: Post) -> None:
    """There is nothing to tell."""
    await leave_and_close(post)
    await post.mailed.expect(reply(kind="cancelled", text=""))
    await post.pass_time(WAIT_S)

    assert post.letters.sent == []


async def test_record_nobody_can_read_is_dropped(post: Post) -> None:
    """It does not hold up the others."""
    await leave_and_close(post)
    await post.mailed.expect(reply("1-0"))
    await post.mailed.expect(reply("2-0"))
    await post.store.set("due:1-0", "{")
    await post.pass_time(WAIT_S)

    assert post.letters.sent == [(ADA, "Answer 2-0")]


async def test_visitor_leaves_an_address_and_goes(full_hub: HubProcess, bus: Bus) -> None:
    """From the frame to the mail: the answer comes when no page is open any more."""
    async with open_page(full_hub) as page:
        await page.ask("m1")
        await page.send(t="leave", email=f" {ADA} ")
        assert await page.receive() == {"t": "left", "email": ADA}
    turn = await bus.next_turn()
    bus.store.now += PRESENT_S
    await full_hub.answer(turn, "Here.")

    later = MailedAnswers(bus.store, bus.letters, now=lambda: utc_now() + timedelta(seconds=WAIT_S))
    await later.look()
    await later.look()

    assert bus.letters.sent == [(ADA, "Here.")]


async def test_page_that_has_the_answer_says_so(full_hub: HubProcess, bus: Bus) -> None:
    """After that it can be closed; the handle of somebody else says nothing."""
    async with open_page(full_hub) as page, open_page(full_hub) as other:
        await page.ask("m1")
        await page.send(t="leave", email=ADA)
        await page.receive()
        reply_to_it = bus.reply(await bus.next_turn(), "Here.")
        await full_hub.connector.send(reply_to_it, NoProgress())
        final = await page.receive()
        assert bus.store.sets["due"] == {reply_to_it.turn}

        await other.send(t="got", turns=[final["turn"], "made up"])
        await other.send(t="ping")
        await other.receive()
        assert bus.store.sets["due"] == {reply_to_it.turn}
        await page.send(t="got", turns=[final["turn"]])
        await page.send(t="ping")
        await page.receive()

    assert bus.store.sets["due"] == set()


@pytest.mark.parametrize(
    ("email", "code"),
    [
        ("ada", "bad_email"),
        ("ada@example", "bad_email"),
        ("ada@example.org\nBcc: b@example.org", "bad_email"),
        ("Ada <ada@example.org>", "bad_email"),
        ("a@b.org,c@d.org", "bad_email"),
        ("a" * 65 + "@example.org", "bad_email"),
        ("ada@" + "a." * 130 + "org", "bad_email"),
        ("ädä@example.org", "bad_email"),
        (5, "bad_type"),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_address_that_is_none_is_refused(full_hub: HubProcess, email: object, code: str) -> None:
    """One plain address, nothing that a mail server could read as more."""
    async with open_page(full_hub) as page:
        await page.send(t="leave", email=email)

        assert await page.receive() == {"t": "err", "code": code}


async def test_hub_without_mail_asks_for_no_address(hub: HubProcess) -> None:
    """`ready` says so, and the frame is none of its protocol."""
    async with open_page(hub) as page:
        await page.send(t="leave", email=ADA)

        assert page.ready["features"]["mail"] is False
        assert await page.receive() == {"t": "err", "code": "unknown_type"}
        await page.send(t="got", turns=[])
        await page.send(t="ping")
        assert (await page.receive())["t"] == "pong"
