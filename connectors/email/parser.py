"""Reads mails in a process of their own, with limits on time and memory, that may die over one."""

from pydantic import ValidationError

from connectors.email.mail import ParsedMail, ParseJob
from hub.errors import ConnectorError
from hub.limited.process import LimitedProcess, ProcessFailed

WORKER = "connectors.email.parse"
DEADLINE_S = 30.0
MAX_ANSWER_BYTES = 20_971_520
"""10 MiB of files are 14 MiB in base64; texts of 200,000 characters are up to 1.2 MB in JSON."""


class MailUnreadable(ConnectorError):
    """The process refused the mail or did not survive it; the text says why."""


class MailParser:
    """Parses one mail after the other.

    Args:
        deadline_s: for one mail.
    """

    def __init__(self, deadline_s: float = DEADLINE_S) -> None:
        self._process = LimitedProcess(WORKER, deadline_s=deadline_s, max_answer_bytes=MAX_ANSWER_BYTES)

    async def parse(self, raw: bytes, job: ParseJob) -> ParsedMail:
        """Parse one mail.

        Raises: MailUnreadable: it breaks a limit, or the process ran out of time or memory and was killed.
        """
        try:
            answer = await self._process.ask(job.model_dump_json().encode(), raw)
        except ProcessFailed as error:
            raise MailUnreadable(f"parsing failed: {error}") from error
        if "error" in answer:
            raise MailUnreadable(str(answer["error"])[:200])
        try:
            return ParsedMail.model_validate(answer.get("mail"))
        except ValidationError as error:
            raise MailUnreadable(
                f"the parsing process answered nonsense ({error.error_count()} errors)"
            ) from error

    async def close(self) -> None:
        """Stop the process."""
        await self._process.close()
