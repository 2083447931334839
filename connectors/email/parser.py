"""The hub's end of the parsing process: hands a mail over, waits within a deadline, kills what does not answer."""

import asyncio
import contextlib
import json
import os
import struct
import sys
from pathlib import Path

import structlog
from pydantic import ValidationError

from connectors.email.mail import ParsedMail, ParseJob
from hub.errors import ConnectorError

log = structlog.get_logger(__name__)

_ROOT = Path(__file__).resolve().parents[2]
MAX_ANSWER_BYTES = 8_388_608


class MailUnreadable(ConnectorError):
    """The parsing process refused the mail or did not survive it; the text says why."""


class MailParser:
    """A process that parses one mail after the other; started when needed, replaced when it fails."""

    def __init__(self, deadline_s: float = 30.0, mails_per_process: int = 100) -> None:
        self._deadline_s = deadline_s
        self._mails_per_process = mails_per_process
        self._process: asyncio.subprocess.Process | None = None
        self._parsed = 0
        self._lock = asyncio.Lock()

    @property
    def process_id(self) -> int | None:
        """Return the id of the process that is ready, or None."""
        return self._process.pid if self._process else None

    async def parse(self, raw: bytes, job: ParseJob) -> ParsedMail:
        """Parse one mail.

        Raises: MailUnreadable: it breaks a limit, or the process ran out of time or memory and was killed.
        """
        async with self._lock:
            try:
                async with asyncio.timeout(self._deadline_s):
                    answer = await self._ask(raw, job)
            except TimeoutError:
                await self._kill()
                raise MailUnreadable(f"parsing took longer than {self._deadline_s:.0f} s") from None
            except (OSError, asyncio.IncompleteReadError, struct.error):
                code = await self._kill()
                raise MailUnreadable(f"the parsing process died (exit status {code})") from None
            except BaseException:
                # An unread answer would be taken for the next mail's.
                await self._kill()
                raise
            self._parsed += 1
            if "error" in answer or self._parsed >= self._mails_per_process:
                await self._kill()
        return _mail(answer)

    async def close(self) -> None:
        """Stop the process."""
        async with self._lock:
            await self._kill()

    async def _ask(self, raw: bytes, job: ParseJob) -> dict[str, object]:
        process = self._process = self._process or await self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        for frame in (job.model_dump_json().encode(), raw):
            process.stdin.write(struct.pack(">I", len(frame)))
            process.stdin.write(frame)
        await process.stdin.drain()
        (size,) = struct.unpack(">I", await process.stdout.readexactly(4))
        if size > MAX_ANSWER_BYTES:
            raise OSError("the answer is too large")
        answer = json.loads(await process.stdout.readexactly(size))
        return answer if isinstance(answer, dict) else {"error": "no answer"}

    async def _start(self) -> asyncio.subprocess.Process:
        self._parsed = 0
        # The environment holds secrets that a process which reads hostile bytes has no use for.
        environment = {
            name: os.environ[name] for name in ("PATH", "LANG", "VIRTUAL_ENV") if name in os.environ
        }
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "connectors.email.parse",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=_ROOT,
            env=environment,
        )

    async def _kill(self) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        if process.stdin is not None:
            process.stdin.close()
        return await asyncio.shield(process.wait())


def _mail(answer: dict[str, object]) -> ParsedMail:
    if "error" in answer:
        raise MailUnreadable(str(answer["error"])[:200])
    try:
        return ParsedMail.model_validate(answer.get("mail"))
    except ValidationError as error:
        raise MailUnreadable(
            f"the parsing process answered nonsense ({error.error_count()} errors)"
        ) from error
