"""The process that parses mails: `python -m connectors.email.parse`, started by `MailParser`."""

from typing import Any

from connectors.email import reading
from connectors.email.mail import ParseJob
from hub.limited.worker import Limits, serve


def parse(job: bytes, raw: bytes) -> dict[str, Any]:
    """Parse one mail.

    Raises: UnreadableMail: it breaks a limit.
    """
    return {"mail": reading.read(raw, ParseJob.model_validate_json(job))}


if __name__ == "__main__":
    serve(parse, frames=2, limits=Limits())
