"""A mail as the hub sees it: what the parsing process hands over, and nothing of the raw bytes."""

from typing import Literal

from pydantic import AwareDatetime, Base64Bytes, BaseModel, ConfigDict

from connectors.email.authentication import Dmarc
from connectors.email.bounces import DeliveryReport


class AttachedFile(BaseModel):
    """A file that came with a mail."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    media_type: str
    size_bytes: int
    data: Base64Bytes = b""
    """Empty where nobody reads files, and where there is a problem."""
    text: str = ""
    """Of a mail that was attached: its head and its text."""
    problem: Literal["", "too_large", "unreachable"] = ""
    """Why its bytes are missing: for the limits on all files of a mail, or because they are not in it."""


class ParsedMail(BaseModel):
    """One mail after parsing: bounded, decoded, normalised."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sender: str
    """Address of the From header, lower case; empty when there is none that mail can be sent to."""
    sender_name: str = ""
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    reply_to: tuple[str, ...] = ()
    subject: str = ""
    message_id: str = ""
    """With its angle brackets; empty when it is missing or malformed."""
    in_reply_to: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    """The first and the newest well-formed ones, at most 20, oldest first."""
    own_references: int = 0
    """How many mails of ours this one refers to, all ids counted."""
    text: str = ""
    """What the person wrote in this mail: no history, no signature."""
    has_own_words: bool = False
    """Whether it begins and ends as every reply of a hub does."""
    quoted: str = ""
    """The history below or between."""
    attachments: tuple[AttachedFile, ...] = ()
    automatic: str = ""
    """Why this mail must not be answered; empty when it may be."""
    report: DeliveryReport | None = None
    """Set where an automatic mail tells of a mail of ours."""
    suspicious: str = ""
    """Why a person should look at this mail before anybody answers it; empty in the normal case."""
    dmarc: Dmarc = ""
    """What this account's own mail server found; empty when it is not known which server that is."""
    date: AwareDatetime | None = None
    content_digest: str = ""
    """SHA-256 over the raw body: tells two mails of one Message-ID apart."""


class ParseJob(BaseModel):
    """What the parsing process needs to know about the account."""

    model_config = ConfigDict(frozen=True)

    addresses: tuple[str, ...]
    """Addresses whose mail arrives in this mailbox."""
    own: tuple[str, ...]
    """Addresses the hub itself writes from."""
    authserv_id: str = ""
    answer_copies: bool = False
    reads_files: bool = False
    """Whether attached files are wanted with their bytes."""
