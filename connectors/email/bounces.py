"""Reports about mail of ours: that it did not arrive, is late, or was complained about. None is ever answered.

Source: RFC 3464 (delivery status), RFC 5965 (complaints). Many servers write reports of their own making, so what is
looked for is the Message-ID of a reply, wherever it stands, and the fields of the standards around it.
"""

import re
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from connectors.email.ids import own_message_ids

LOOKED_THROUGH_BYTES = 262_144

_TELLING = frozenset({"report", "null_return_path", "bounce", "machine_sender", "automatic_subject"})
_FLAGS = re.MULTILINE | re.IGNORECASE
_STATUS = re.compile(r"^(?:Status|Diagnostic-Code):[^\r\n]{0,200}?\b([245]\.\d{1,3}\.\d{1,3})\b", _FLAGS)
_REFUSAL = re.compile(r"\b[45]\d\d[ -]([45]\.\d{1,3}\.\d{1,3})\b")
"""What a server answered, as reports in words quote it: `550 5.1.1 no such person`."""
_ACTION = re.compile(r"^Action:\s*([a-z]{1,20})", _FLAGS)
_COMPLAINT = re.compile(r"^Feedback-Type:\s*([a-z-]{1,30})", _FLAGS)


class DeliveryReport(BaseModel):
    """What another server tells about one mail of ours."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    message_id: str
    """Of our mail."""
    kind: Literal["failed", "delayed", "complaint", "other"]
    status: str = ""
    """Such as `5.1.1`; empty where the report does not tell. Source: RFC 3463."""


def report_of(raw: bytes, why: str, own: Iterable[str]) -> dict[str, Any] | None:
    """Return the fields of a DeliveryReport where a mail is one about a mail of ours, else None.

    Args:
        raw: the whole mail.
        why: the reason for which it gets no answer.
        own: the addresses of our accounts.
    """
    if why not in _TELLING:
        return None
    text = raw[:LOOKED_THROUGH_BYTES].decode("latin-1")
    ids = own_message_ids([text], own)
    if not ids:
        return None
    status, action = _STATUS.search(text) or _REFUSAL.search(text), _ACTION.search(text)
    code = status[1] if status else ""
    return {"message_id": ids[0], "kind": _kind(text, code, action[1] if action else ""), "status": code}


def _kind(text: str, status: str, action: str) -> Literal["failed", "delayed", "complaint", "other"]:
    if _COMPLAINT.search(text):
        return "complaint"
    match action.lower():
        case "failed":
            return "failed"
        case "delayed":
            return "delayed"
        case "delivered" | "relayed" | "expanded":
            return "other"
    if status.startswith("5"):
        return "failed"
    return "delayed" if status.startswith("4") else "other"
