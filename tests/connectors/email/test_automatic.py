"""When mail is not answered. Source: RFC 3834 section 2."""

import email
from email.message import Message

import pytest

from connectors.email import automatic
from connectors.email.mail import ParseJob

JOB = ParseJob(addresses=("hub@example.org", "help@example.org"), own=("hub@example.org", "two@example.org"))
PLAIN = "From: jane@example.net\nTo: hub@example.org\nSubject: Question\n"


def _mail(*lines: str, base: str = PLAIN) -> Message:
    kept = [line for line in base.splitlines() if not any(_name(line) == _name(new) for new in lines)]
    return email.message_from_string("\n".join([*kept, *lines]) + "\n\nHow?\n")


def _name(line: str) -> str:
    return line.partition(":")[0].lower()


def _reason(mail: Message, sender: str = "jane@example.net", job: ParseJob = JOB) -> str:
    return automatic.reason(mail, sender, job)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Auto-Submitted: auto-replied", "auto_submitted"),
        ("Auto-Submitted: auto-generated", "auto_submitted"),
        ("Auto-Submitted: AUTO-REPLIED; x=y", "auto_submitted"),
        ("Auto-Submitted: something-new", "auto_submitted"),
        ("Auto-Submitted: no", ""),
        ("Auto-Submitted: No (said so)", ""),
        ("Return-Path: <>", "null_return_path"),
        ("Return-Path: < >", "null_return_path"),
        ("Return-Path: <jane@example.net>", ""),
        ("Precedence: bulk", "precedence"),
        ("Precedence: Junk", "precedence"),
        ("Precedence: list", "precedence"),
        ("Precedence: first-class", ""),
        ("List-Id: <dev.example.org>", "mailing_list"),
        ("List-Unsubscribe: <mailto:x@example.org>", "mailing_list"),
        ("List-Post: <mailto:x@example.org>", "mailing_list"),
        ("X-Auto-Response-Suppress: All", "asks_for_no_reply"),
        ("X-Auto-Response-Suppress: DR, OOF, AutoReply", "asks_for_no_reply"),
        ("X-Auto-Response-Suppress: RN", ""),
        ("X-Autoreply: yes", "autoreply"),
        ("X-Loop: x", "loop"),
        ("X-Hub-Loop: hubbub", "loop"),
        ("Message-ID: <hub.0123456789abcdef0123456789abcdef@example.com>", "loop"),
        ("Message-ID: <hub.0123@example.com>", ""),
        ("X-Failed-Recipients: x@example.org", "bounce"),
        ("Content-Type: multipart/report; boundary=x", "report"),
        ("Content-Type: message/disposition-notification", "report"),
        ("Content-Type: message/feedback-report", "report"),
        ("Content-Type: text/calendar; method=REQUEST", "calendar"),
        ("Subject: Out of Office: back on Monday", "automatic_subject"),
        ("Subject: Automatic reply: Question", "automatic_subject"),
        ("Subject: Undelivered Mail Returned to Sender", "automatic_subject"),
        ("Subject: =?utf-8?q?R=C3=A9ponse_automatique?=", "automatic_subject"),
        ("Subject: How do I set up an out of office note?", ""),
        ("Disposition-Notification-To: jane@example.net", ""),
        ("To: somebody@example.org", "not_addressed"),
        ("To: undisclosed-recipients:;", "not_addressed"),
        ("To: HUB+tag@Example.org", ""),
        ("To: help@example.org", ""),
        ("To: " + ", ".join(f"p{n}@example.org" for n in range(60)) + ", hub@example.org", "too_many_recipients"),
    ],
)  # fmt: skip
def test_headers_decide(line: str, expected: str) -> None:
    """One header more or less makes the difference."""
    assert _reason(_mail(line)) == expected


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        ("", "no_sender"),
        ("hub@example.org", "own_address"),
        ("HUB+x@example.org", "own_address"),
        ("help@example.org", "own_address"),
        ("two@example.org", "own_address"),
        ("mailer-daemon@example.net", "machine_sender"),
        ("postmaster@example.net", "machine_sender"),
        ("noreply@example.net", "machine_sender"),
        ("no-reply@example.net", "machine_sender"),
        ("do-not-reply@example.net", "machine_sender"),
        ("owner-list@example.net", "machine_sender"),
        ("list-request@example.net", "machine_sender"),
        ("bounces+12=x@example.net", "machine_sender"),
        ("norbert@example.net", ""),
        ("rooter@example.net", ""),
    ],
)
def test_senders_decide(sender: str, expected: str) -> None:
    """Machines and the hub itself get no answer."""
    assert _reason(_mail(), sender) == expected


def test_calendar_inside_an_invitation_is_found() -> None:
    """An invitation is a mail with a calendar part."""
    invite = (
        'Content-Type: multipart/alternative; boundary="b"\n\n--b\nContent-Type: text/plain\n\nCome!\n'
        "--b\nContent-Type: text/calendar; method=REQUEST\n\nBEGIN:VCALENDAR\n--b--\n"
    )
    assert _reason(email.message_from_string(PLAIN + invite)) == "calendar"


def test_copies_are_answered_only_where_wanted() -> None:
    """Mail that only copies the mailbox in is left alone by default."""
    mail = _mail("To: bob@example.net", "Cc: hub@example.org")

    assert _reason(mail) == "copy_only"
    assert _reason(mail, job=JOB.model_copy(update={"answer_copies": True})) == ""
