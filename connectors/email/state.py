"""What the e-mail connector must remember between runs, and where it keeps it."""

import hashlib

from pydantic import BaseModel, ConfigDict

from connectors.email.mail import ParsedMail


class Watermark(BaseModel):
    """How far one folder has been read."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    uid_validity: int
    last_uid: int
    """Every mail up to this UID is published, ignored or in quarantine."""
    to_mark: tuple[int, ...] = ()
    """Those of them that do not carry the hub's keyword yet."""
    to_move: tuple[int, ...] = ()
    """Those of them that are not in the account's `done_folder` yet."""


def digest(*parts: str) -> str:
    """Return 32 hexadecimal digits that stand for the parts."""
    joined = "\x1f".join(parts).encode("utf-8", "replace")
    return hashlib.sha256(joined).hexdigest()[:32]


def external_key(mailbox: str, mail: ParsedMail) -> str:
    """Name a mail so that it is accepted once, whatever UID it lies under."""
    identity = mail.message_id or f"{mail.sender}\x1f{mail.date}\x1f{mail.subject}\x1f{mail.content_digest}"
    return f"em:{mailbox}:{hashlib.sha256(identity.encode('utf-8', 'replace')).hexdigest()}"
