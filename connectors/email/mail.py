"""A mail as the hub sees it: what the parsing process hands over, and nothing of the raw bytes."""

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict


class AttachedFile(BaseModel):
    """A file that came with a mail, by name only."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    media_type: str
    size_bytes: int


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
    """The last 20 well-formed ones, oldest first."""
    text: str = ""
    """What the person wrote in this mail: no history, no signature."""
    quoted: str = ""
    """The history below or between."""
    attachments: tuple[AttachedFile, ...] = ()
    automatic: str = ""
    """Why this mail must not be answered; empty when it may be."""
    suspicious: str = ""
    """Why a person should look at this mail before anybody answers it; empty in the normal case."""
    dmarc: Literal["", "pass", "fail", "none"] = ""
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
