"""The near end: hands a request over, waits within a deadline, kills what does not answer."""

import asyncio
import contextlib
import os
import struct
import sys
from pathlib import Path

import orjson

from hub.errors import HubError

_ROOT = Path(__file__).resolve().parents[2]
_INHERITED = ("PATH", "LANG", "VIRTUAL_ENV")


class ProcessFailed(HubError):
    """The process did not survive its work, or took too long; the text says which."""


class ProcessDied(ProcessFailed):
    """The process ended in the middle of its work."""


class LimitedProcess:
    """A process that answers one request after the other; started when needed, replaced when it fails.

    Args:
        module: run by `python -m`; it calls `hub.limited.worker.serve`.
        deadline_s: for one answer.
        most_requests: after so many a fresh process goes on.
        max_answer_bytes: a process that says more is ended.
    """

    def __init__(
        self,
        module: str,
        *,
        deadline_s: float = 30.0,
        most_requests: int = 100,
        max_answer_bytes: int = 8 * 2**20,
    ) -> None:
        self._module = module
        self._deadline_s = deadline_s
        self._most_requests = most_requests
        self._max_answer_bytes = max_answer_bytes
        self._process: asyncio.subprocess.Process | None = None
        self._answered = 0
        self._lock = asyncio.Lock()

    @property
    def process_id(self) -> int | None:
        """Return the id of the process that is ready, or None."""
        return self._process.pid if self._process else None

    async def ask(self, *frames: bytes) -> dict[str, object]:
        """Have a request answered.

        A request on which a process fails that has done others before gets a fresh one.

        Returns: the answer; with a text under `error` where the process refused.
        Raises: ProcessFailed: it ran out of time or memory, or died; it was replaced.
        """
        async with self._lock:
            if self._process is not None and self._process.returncode is not None:
                # It was ended while nobody asked, for example because the machine had no memory left.
                await self._kill()
            was_used = self._process is not None
            try:
                answer = await self._attempt(frames)
            except ProcessDied:
                if not was_used:
                    raise
                answer = None
            if was_used and (answer is None or answer.get("failed")):
                # It may be what earlier requests have left behind that was too much.
                answer = await self._attempt(frames)
            assert answer is not None
        return answer

    async def _attempt(self, frames: tuple[bytes, ...]) -> dict[str, object]:
        try:
            async with asyncio.timeout(self._deadline_s):
                answer = await self._exchange(frames)
        except TimeoutError:
            await self._kill()
            raise ProcessFailed(f"it took longer than {self._deadline_s:.0f} s") from None
        except (OSError, asyncio.IncompleteReadError, struct.error, orjson.JSONDecodeError):
            code = await self._kill()
            raise ProcessDied(f"the process for it died (exit status {code})") from None
        except BaseException:
            # An unread answer would be taken for the next one.
            await self._kill()
            raise
        self._answered += 1
        if "error" in answer or self._answered >= self._most_requests:
            await self._kill()
        return answer

    async def close(self) -> None:
        """Stop the process."""
        async with self._lock:
            await self._kill()

    async def _exchange(self, frames: tuple[bytes, ...]) -> dict[str, object]:
        process = self._process = self._process or await self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        for frame in frames:
            process.stdin.write(struct.pack(">I", len(frame)))
            process.stdin.write(frame)
        await process.stdin.drain()
        (size,) = struct.unpack(">I", await process.stdout.readexactly(4))
        if size > self._max_answer_bytes:
            raise OSError("the answer is too large")
        answer = orjson.loads(await process.stdout.readexactly(size))
        return answer if isinstance(answer, dict) else {"error": "no answer"}

    async def _start(self) -> asyncio.subprocess.Process:
        self._answered = 0
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            self._module,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=_ROOT,
            # The environment holds secrets that a process which reads hostile bytes has no use for.
            env={name: os.environ[name] for name in _INHERITED if name in os.environ},
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
