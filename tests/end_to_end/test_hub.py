"""One message, end to end: the hub as a program, real mail servers, a real model, and the answer on every channel."""

import asyncio
import email
import email.policy
import json
import secrets
import smtplib
import socket
from collections.abc import AsyncIterator, Callable
from email.message import EmailMessage
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from engine.replies import NOT_IN_DOCUMENTS
from tests.emulators.bot_api import BotApi
from tests.end_to_end.people import HUB, JANE
from tests.hub_process import HubProcess
from tests.servers.accounts import PASSWORD
from tests.servers.dovecot import Dovecot
from tests.servers.smtp import SmtpServer, account_at

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(
    tmp_path_factory: pytest.TempPathFactory, telegram: BotApi, dovecot: Dovecot, smtp: SmtpServer
) -> AsyncIterator[HubProcess]:
    """One hub with all channels connected."""
    settings = {
        "HUBBUB_TELEGRAM__TOKEN": telegram.token,
        "HUBBUB_TELEGRAM__API_BASE": telegram.url,
        "HUBBUB_EMAIL__ACCOUNTS": json.dumps([account_at(HUB, dovecot, smtp)]),
        "HUBBUB_EMAIL__POLL_S": "2",
    }
    async with HubProcess(tmp_path_factory.mktemp("hub") / "data", settings) as hub:
        yield hub


async def visit(hub: HubProcess, question: str, token: str = "") -> tuple[str, dict[str, object], int]:
    """Ask as a visitor of the page.

    Returns: the visitor's token, the final frame, and how many pieces of text came before it.
    """
    async with aiohttp.ClientSession() as client:
        headers = {"Origin": hub.url}
        async with client.ws_connect(f"{hub.url}/ws/chat", headers=headers) as socket:
            await socket.send_json({"t": "auth", "token": token})
            await socket.send_json({"t": "message", "id": secrets.token_hex(8), "text": question})
            pieces = 0
            async with asyncio.timeout(60):
                while True:
                    frame = await socket.receive_json()
                    pieces += frame["t"] == "delta"
                    token = frame.get("token", token)
                    assert frame["t"] != "err", frame
                    if frame["t"] == "final":
                        return token, frame, pieces


def write_mail(smtp: SmtpServer, text: str, *, subject: str = "A question", reply_to: str = "") -> str:
    """Send a mail to the hub and return its Message-ID."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = f"Jane <{JANE}>", HUB, subject
    mail["Message-ID"] = message_id = email.utils.make_msgid(domain="example.net")
    mail["Date"] = email.utils.formatdate()
    if reply_to:
        mail["In-Reply-To"] = mail["References"] = reply_to
    mail.set_content(text)
    with smtplib.SMTP(smtp.host, smtp.port) as client:
        client.login(JANE, PASSWORD)
        client.send_message(mail)
    return message_id


async def read_mail(dovecot: Dovecot, is_wanted: Callable[[EmailMessage], bool]) -> EmailMessage:
    """Wait for a mail in Jane's mailbox."""
    async with asyncio.timeout(60):
        while True:
            for raw in await asyncio.to_thread(dovecot.mails, JANE):
                mail = email.message_from_bytes(raw, policy=email.policy.default)
                if is_wanted(mail):
                    return mail
            await asyncio.sleep(0.2)


async def test_the_page_answers_from_the_documentation(hub: HubProcess) -> None:
    """A visitor asks, sees the text arrive, and is shown where it stands."""
    _, final, pieces = await visit(hub, "How do I connect Telegram?")

    assert pieces >= 1
    assert "HUBBUB_TELEGRAM__TOKEN" in str(final["text"])
    sources = json.dumps(final["sources"])
    assert "README.md" in sources or "docs/telegram.md" in sources


async def test_an_answer_on_telegram_can_be_judged(hub: HubProcess, telegram: BotApi) -> None:
    """The button below it is pressed, the person is thanked, and the operator sees the count."""
    chat = 8_001
    telegram.say(chat, "How do I add documents?")
    await telegram.answered(chat, timeout_s=60)
    message = [one for one in telegram.messages(chat) if one.by_bot][-1]

    query = telegram.press(chat, "👍")
    await telegram.until(lambda: telegram.queries[query] is not None, timeout_s=30)
    await telegram.until(lambda: message.labels[0] == "👍 ✓", timeout_s=30)
    counted = 'hubbub_feedback_total{connector="telegram",value="up"} 1.0'
    async with aiohttp.ClientSession() as client, asyncio.timeout(30):
        while counted not in (text := await _metrics(client, hub)):
            assert "hubbub_feedback_total" in text
            await asyncio.sleep(0.1)


async def _metrics(client: aiohttp.ClientSession, hub: HubProcess) -> str:
    async with client.get(f"{hub.url}/metrics") as answer:
        return await answer.text()


async def test_the_name_is_remembered_on_every_channel_and_after_a_restart(
    hub: HubProcess, telegram: BotApi, dovecot: Dovecot, smtp: SmtpServer
) -> None:
    """Told on web, Telegram, mail and API, asked again after everything was stopped and started."""
    told = "My name is Omdeep."
    asked = "What is my name?"
    visitor, _, _ = await visit(hub, told)
    telegram.say(4711, told)
    await telegram.answered(4711, 1, timeout_s=60)
    first_mail = write_mail(smtp, told)
    first_reply = await read_mail(dovecot, lambda mail: mail["In-Reply-To"] == first_mail)
    status, _ = await hub.post("/chat", {"prompt": told, "session_id": "s-1"})
    assert status == 200

    assert await hub.stop() == 0
    await hub.start()

    _, final, _ = await visit(hub, asked, visitor)
    assert "Omdeep" in json.dumps(final)
    telegram.say(4711, asked)
    assert "Omdeep" in (await telegram.answered(4711, 2, timeout_s=60))[-1]
    second_mail = write_mail(smtp, asked, subject="Re: A question", reply_to=first_reply["Message-ID"])
    second_reply = await read_mail(dovecot, lambda mail: mail["In-Reply-To"] == second_mail)
    answer = second_reply.get_body(("plain",))
    assert answer is not None
    assert "Omdeep" in answer.get_content().split(asked)[0]
    assert second_reply["References"].split() == [first_reply["Message-ID"], second_mail]
    status, body = await hub.post("/chat", {"prompt": asked, "session_id": "s-1"})
    assert (status, "Omdeep" in body["response"]) == (200, True)


async def test_another_session_does_not_know_the_name(hub: HubProcess) -> None:
    """What one session told stays there."""
    await hub.post("/chat", {"prompt": "My name is Zarathustra.", "session_id": "s-2"})

    _, body = await hub.post("/chat", {"prompt": "What is my name?", "session_id": "s-3"})

    assert "Zarathustra" not in body["response"]


async def test_telegram_answers_with_sources(hub: HubProcess, telegram: BotApi) -> None:
    """The bot quotes the documentation and names it."""
    telegram.say(99, "How do I add documents?")

    [answer] = await telegram.answered(99, 1, timeout_s=60)

    assert "ingest" in answer
    assert "[1]" in answer


async def test_an_album_on_telegram_is_answered_once(hub: HubProcess, telegram: BotApi) -> None:
    """Its pieces wait in Redis until it is whole, and what is written next comes after it."""
    caption = "How do I add documents?"
    telegram.album(98, {"photo": telegram.photo(), "caption": caption}, {"photo": telegram.photo()})
    telegram.say(98, "/help")

    answers = await telegram.answered(98, 2, timeout_s=60)

    assert len(answers) == 2
    assert "/new" in answers[1]


async def test_documents_added_while_it_runs_are_found(hub: HubProcess, tmp_path: Path) -> None:
    """`hubbub ingest` reaches a running hub."""
    note = tmp_path / "canteen.md"
    note.write_text("# Canteen\n\nThe canteen of the institute opens at 11:45 and closes at 14:15.\n")

    await hub.command("ingest", "--data", str(hub.data), str(note))

    status, found = await hub.get("/search", q="When does the canteen open?", k="2")
    assert status == 200
    assert found["results"][0]["source"].endswith("canteen.md")
    assert "11:45" in found["results"][0]["text"]
    assert found["results"][0]["score"] > 0.4
    _, body = await hub.post("/chat", {"prompt": "When does the canteen open?", "session_id": "s-4"})
    assert "11:45" in body["response"]
    assert body["sources"]


async def test_what_the_documents_do_not_say_is_not_invented(hub: HubProcess) -> None:
    """Without support there is no answer and no source."""
    _, body = await hub.post("/chat", {"prompt": "Who won the chess world cup of 1937?", "session_id": "s-5"})

    assert body["sources"] == []
    assert body["response"] == NOT_IN_DOCUMENTS


async def test_the_terminal_asks_the_running_hub(hub: HubProcess) -> None:
    """`hubbub ask` prints the answer and its sources."""
    answer = json.loads(await hub.command("ask", "--json", "How do I get an API key?"))

    assert "key" in answer["response"].lower()
    assert answer["sources"]


async def test_the_doctor_finds_nothing_wrong(hub: HubProcess) -> None:
    """Every part that is connected is reported working."""
    findings = {one["part"]: one for one in json.loads(await hub.command("doctor", "--json"))}

    assert (
        findings["redis"]["state"]
        == findings["telegram"]["state"]
        == findings[f"email {HUB}"]["state"]
        == "ok"
    )
    assert findings["port"]["text"].endswith("is the running hub's")
    assert "fail" not in {one["state"] for one in findings.values()}


async def test_a_second_hub_on_the_same_folder_is_refused(hub: HubProcess) -> None:
    """Two hubs on one folder would be two owners of one Redis."""
    await hub.command("up", "--data", str(hub.data), "--port", "0", code=2)


async def test_nobody_else_can_read_what_is_kept(hub: HubProcess) -> None:
    """The data folder and every file in it are their owner's alone."""
    readable = [path for path in (hub.data, *hub.data.rglob("*")) if path.lstat().st_mode & 0o077]

    assert readable == []


async def test_a_hub_killed_without_warning_leaves_nothing_in_the_way(data: Path) -> None:
    """After SIGKILL its children end by themselves, and the next start goes on with the same data."""
    hub = HubProcess(data)
    await hub.start()
    await hub.post("/chat", {"prompt": "My name is Omdeep.", "session_id": "s"})

    await hub.kill()
    await hub.start()

    _, body = await hub.post("/chat", {"prompt": "What is my name?", "session_id": "s"})
    assert "Omdeep" in body["response"]
    assert await hub.stop() == 0


async def test_a_port_that_is_taken_is_told_in_one_sentence(data: Path) -> None:
    """No traceback, and what to do about it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        hub = HubProcess(data)
        hub.port = taken.getsockname()[1]

        with pytest.raises(RuntimeError, match="the hub ended"):
            await hub.start()

    assert "Address already in use. Choose another with --port" in hub.log()
    assert "Traceback" not in hub.log()
