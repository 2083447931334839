"""When not to answer: mail written by machines, to lists, or not to us.

Source: RFC 3834 section 2 (automatic responses), RFC 2919 and RFC 2369 (lists), RFC 3462 (reports).
"""

import re
from email.message import Message

from connectors.email import headers
from connectors.email.ids import is_hub_message_id
from connectors.email.mail import ParseJob
from hub.text import canonical_address

OWN_MARK = "X-Hub-Loop"
"""Header that every mail of the hub carries."""

MAX_RECIPIENTS = 50

_MACHINES = re.compile(
    r"(mailer-?daemon|postmaster|no-?_?\.?reply|do-?_?\.?not-?_?\.?reply|noreply[-+_.].*|no-reply[-+_.].*|bounces?"
    r"|bounces?[-+=].*|owner-.*|.*-owner|.*-request|.*-bounces|listserv|majordomo|abuse|root|www-data|nobody)"
)
_SUBJECTS = re.compile(
    r"(out of (the )?office|automatic reply|auto(matic)?[ -]?(response|reply)|auto: |autoreply|undeliver(ed|able)"
    r"|mail delivery (failed|failure|subsystem)|delivery status notification|returned mail|failure notice"
    r"|abwesenheit|automatische antwort|r[ée]ponse automatique|absence du bureau|respuesta autom[áa]tica"
    r"|risposta automatica|automatisch antwoord|autosvar)",
    re.IGNORECASE,
)
_REPORT_TYPES = frozenset(
    {
        "multipart/report",
        "message/disposition-notification",
        "message/delivery-status",
        "message/feedback-report",
    }
)
_PRESENT = (
    ("x-autoreply", "autoreply"),
    ("x-autorespond", "autoreply"),
    ("x-autoresponder", "autoreply"),
    ("x-loop", "loop"),
    (OWN_MARK.lower(), "loop"),
    ("x-failed-recipients", "bounce"),
)


def reason(message: Message, sender: str, job: ParseJob) -> str:
    """Return why this mail must not be answered, in one word, or an empty string."""
    return (
        _said_by_headers(message)
        or _said_by_sender(sender, job)
        or _said_by_content(message)
        or _said_by_recipients(message, job)
    )


def _said_by_headers(message: Message) -> str:
    submitted = headers.first(message, "Auto-Submitted")
    if submitted and _keyword(submitted) != "no":
        return "auto_submitted"
    if headers.first(message, "Return-Path").replace(" ", "") == "<>":
        return "null_return_path"
    present = headers.names(message)
    if any(name.startswith("list-") for name in present):
        return "mailing_list"
    if _keyword(headers.first(message, "Precedence")) in {"bulk", "junk", "list", "auto_reply"}:
        return "precedence"
    suppress = headers.first(message, "X-Auto-Response-Suppress").lower()
    if {"all", "autoreply"} & set(re.split(r"[\s,;]+", suppress)):
        return "asks_for_no_reply"
    if is_hub_message_id(headers.first(message, "Message-ID")):
        # Relays that drop every other header keep this one: threads and reports need it.
        return "loop"
    return next((why for name, why in _PRESENT if name in present), "")


def _said_by_sender(sender: str, job: ParseJob) -> str:
    if not sender:
        return "no_sender"
    if canonical_address(sender) in {canonical_address(address) for address in (*job.own, *job.addresses)}:
        return "own_address"
    return "machine_sender" if _MACHINES.fullmatch(sender.rpartition("@")[0]) else ""


def _said_by_content(message: Message) -> str:
    if message.get_content_type() in _REPORT_TYPES:
        return "report"
    if message.get_content_type() == "text/calendar":
        return "calendar"
    payload = message.get_payload()
    parts = payload[:10] if isinstance(payload, list) else []
    kinds = {part.get_content_type() for part in parts if isinstance(part, Message)}
    if kinds & _REPORT_TYPES:
        return "report"
    if "text/calendar" in kinds:
        return "calendar"
    subject = headers.decoded(headers.first(message, "Subject"))
    return "automatic_subject" if _SUBJECTS.match(subject) else ""


def _said_by_recipients(message: Message, job: ParseJob) -> str:
    to, cc = headers.raw_values(message, "To"), headers.raw_values(message, "Cc")
    if headers.count_addresses(to + cc) > MAX_RECIPIENTS:
        return "too_many_recipients"
    mine = {canonical_address(address) for address in job.addresses}
    if mine & {canonical_address(address) for _, address in headers.addresses(to)}:
        return ""
    # A To that cannot be read does not prove that somebody else was meant.
    unreadable = bool(to) and not headers.addresses(to) and not any("undisclosed" in value for value in to)
    if unreadable and not cc:
        return ""
    if mine & {canonical_address(address) for _, address in headers.addresses(cc)}:
        return "" if job.answer_copies else "copy_only"
    return "not_addressed"


def _keyword(value: str) -> str:
    return value.partition(";")[0].partition("(")[0].strip().lower()
