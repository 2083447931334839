"""One IMAP connection on which nothing can wait for ever: aioimaplib with a deadline around every call.

aioimaplib's own time-outs do not fire in several states (a BYE in answer to IDLE, a literal that stops half-way,
a connection that is lost), so every call here races the caller's deadline and the loss of the connection, and
the transport is cut on either.
"""

import asyncio
import contextlib
import re
import ssl
from base64 import b64encode
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aioimaplib import aioimaplib

from hub.errors import ConnectorError
from hub.settings import MailAccountSettings

KEYWORD = "$HubDone"
"""Marks mail the hub has dealt with; the owner's own marks are never touched."""

METADATA_BATCH = 50
"""aioimaplib reads the lines of an answer recursively: a few hundred at once would break the connection."""

_UID = re.compile(rb"\bUID (\d+)")
_SIZE = re.compile(rb"RFC822\.SIZE (\d+)")
_INTERNAL_DATE = re.compile(rb'INTERNALDATE "([^"]{20,30})"')
_FLAGS = re.compile(rb"\bFLAGS \(([^)]*)\)")
_CODE = re.compile(rb"\[(UIDVALIDITY|UIDNEXT) (\d+)\]", re.IGNORECASE)
_PERMANENT_FLAGS = re.compile(rb"\[PERMANENTFLAGS \(([^)]*)\)\]", re.IGNORECASE)


class MailboxUnreachable(ConnectorError):
    """The IMAP server does not answer, refuses, or speaks nonsense; a new connection may cure it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """What SELECT told."""

    uid_validity: int
    uid_next: int
    """0 where the server does not tell."""
    keeps_keyword: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MailInfo:
    """What is known of a mail before its text is fetched."""

    uid: int
    size_bytes: int
    arrived_at: datetime
    is_marked: bool


class ImapClient:
    """A connection to one account.

    Raises: MailboxUnreachable, from every method: the connection is then cut and of no further use.
    """

    def __init__(
        self, account: MailAccountSettings, tls: ssl.SSLContext, *, timeout_s: float, max_bytes: int
    ) -> None:
        self._account = account
        self._tls = tls
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._protocol: Any = None
        self._transport: asyncio.Transport | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> None:
        """Connect, secure the connection and log in."""
        greeting = await self._bounded(self._connect(), "connect")
        self._protocol.data_received(greeting)
        await self._bounded(self._protocol.wait("AUTH|NONAUTH"), "greeting")
        if self._protocol.state != "AUTH":
            user = self._account.username or self._account.address
            # Quoted here: aioimaplib quotes the password only.
            login = self._protocol.login(quoted(user), self._account.password.get_secret_value())
            self._expect(await self._bounded(login, "LOGIN"), "LOGIN")
        await self._bounded(self._protocol.capability(), "CAPABILITY")

    @property
    def has_idle(self) -> bool:
        """Whether the server can tell about new mail on its own."""
        return "IDLE" in self._protocol.capabilities

    @property
    def saw_change(self) -> bool:
        """Whether the server has spoken of new mail since the last search; IDLE would not repeat it."""
        return bool(self._answers.saw_change)

    async def noop(self) -> None:
        """Let the server tell what has changed."""
        self._expect(await self._bounded(self._protocol.simple_command("NOOP"), "NOOP"), "NOOP")

    async def select(self, folder: str) -> Folder:
        """Open a folder; fails where it does not exist."""
        answer = await self._bounded(self._protocol.select(mailbox_name(folder)), "SELECT")
        lines = self._expect(answer, "SELECT")
        codes = {name.upper(): int(value) for line in lines for name, value in _CODE.findall(line)}
        flags = b" ".join(match for line in lines for match in _PERMANENT_FLAGS.findall(line))
        return Folder(
            uid_validity=codes.get(b"UIDVALIDITY", 0),
            uid_next=codes.get(b"UIDNEXT", 0),
            keeps_keyword=b"\\*" in flags or KEYWORD.encode() in flags,
        )

    async def uids(self, *criteria: str) -> list[int]:
        """Return the UIDs that match, ascending."""
        self._answers.saw_change = False
        answer = await self._bounded(self._protocol.search(*criteria, by_uid=True, charset=None), "SEARCH")
        numbers = {
            int(word)
            for line in self._expect(answer, "SEARCH")[:-1]
            for word in line.split()
            if word.isdigit()
        }
        return sorted(numbers)

    async def infos(self, uids: Sequence[int]) -> list[MailInfo]:
        """Return what is known of these mails, ascending; those that are gone are missing."""
        found: dict[int, MailInfo] = {}
        for start in range(0, len(uids), METADATA_BATCH):
            batch = ",".join(map(str, uids[start : start + METADATA_BATCH]))
            answer = await self._fetch(batch, "(UID FLAGS INTERNALDATE RFC822.SIZE)")
            for line in answer:
                if (info := _info(line)) is not None:
                    found[info.uid] = info
        return [found[uid] for uid in uids if uid in found]

    async def raw(self, uid: int) -> bytes | None:
        """Return a mail's bytes without marking it as read; None when it is gone by now.

        Raises: MailboxUnreachable: also when the server speaks of the mail and does not hand it over.
        """
        lines = await self._fetch(str(uid), f"(UID BODY.PEEK[]<0.{self._max_bytes}>)")
        for before, line, after in zip([b"", *lines], lines, [*lines[1:], b""], strict=False):
            if isinstance(line, bytearray):
                named = _UID.search(bytes(before)) or _UID.search(bytes(after))
                if named and int(named[1]) == uid:
                    return bytes(line)
        told = (_UID.search(bytes(line)) for line in lines if not isinstance(line, bytearray))
        if any(named and int(named[1]) == uid for named in told):
            raise MailboxUnreachable("FETCH was answered without the mail")
        return None

    async def mark(self, uid: int) -> None:
        """Set the hub's keyword on a mail."""
        store = self._protocol.uid("STORE", str(uid), "+FLAGS.SILENT", f"({KEYWORD})")
        self._expect(await self._bounded(store, "STORE"), "STORE")

    async def has_message(self, folder: str, message_id: str) -> bool:
        """Tell whether a folder holds a mail with this Message-ID."""
        await self.select(folder)
        return bool(await self.uids("HEADER", "Message-ID", quoted(message_id)))

    async def append(self, folder: str, raw: bytes) -> None:
        """Put a mail into a folder, marked as read."""
        append = self._protocol.append(raw, mailbox_name(folder), "\\Seen")
        self._expect(await self._bounded(append, "APPEND"), "APPEND")

    async def idle(self, seconds: float) -> None:
        """Return when the server reports a change, at the latest after `seconds`."""
        idling = asyncio.ensure_future(self._protocol.idle())
        begun = asyncio.ensure_future(self._protocol.wait_for_idle_response())
        push = asyncio.ensure_future(self._protocol.idle_queue.get())
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._until(begun, idling)
            if idling.done():
                raise MailboxUnreachable("the server refused IDLE")
            await self._until(push, idling, seconds=seconds)
            if idling.done() or (push.done() and not push.cancelled() and _says_bye(push.result())):
                raise MailboxUnreachable("the server ended IDLE")
            self._protocol.idle_done()
            async with asyncio.timeout(self._timeout_s):
                await self._until(idling)
        except (TimeoutError, aioimaplib.AioImapException, MailboxUnreachable) as error:
            self.kill()
            raise MailboxUnreachable(f"IDLE failed: {error or 'no answer'}") from error
        except BaseException:
            self.kill()
            raise
        finally:
            for task in (idling, begun, push):
                task.cancel()
            while not self._protocol.idle_queue.empty():
                self._protocol.idle_queue.get_nowait()

    async def close(self) -> None:
        """Say goodbye if the server still listens, and cut the connection."""
        try:
            if self._protocol is not None and not self._lost.done():
                with contextlib.suppress(MailboxUnreachable):
                    async with asyncio.timeout(2):
                        await self._bounded(self._protocol.logout(), "LOGOUT")
        except TimeoutError:
            pass
        finally:
            self.kill()

    def kill(self) -> None:
        """Cut the connection at once."""
        if self._transport is not None:
            self._transport.abort()
        if not self._lost.done():
            self._lost.set_result("cut")

    async def _connect(self) -> bytes:
        account = self._account
        direct = self._tls if account.imap_tls == "tls" else None
        reader, self._writer = await asyncio.open_connection(account.imap_host, account.imap_port, ssl=direct)
        self._transport = self._writer.transport  # type: ignore[assignment]
        greeting = await reader.readline()
        if account.imap_tls == "starttls":
            self._writer.write(b"hub1 STARTTLS\r\n")
            while (line := await reader.readline()).startswith(b"*"):
                pass
            if not line.startswith(b"hub1 OK"):
                raise MailboxUnreachable("the server refused STARTTLS")
            # What came in the clear after this line stays unread in `reader`.
            await self._writer.start_tls(self._tls, server_hostname=account.imap_host)
            self._transport = self._writer.transport  # type: ignore[assignment]
        if not greeting.startswith((b"* OK", b"* PREAUTH")):
            raise MailboxUnreachable("the server greeted with a refusal")
        self._protocol = aioimaplib.IMAP4ClientProtocol(asyncio.get_running_loop())
        assert self._transport is not None
        bounded = _BoundedProtocol(self._protocol, self._lost, self._max_bytes * 2 + 1_048_576)
        self._transport.set_protocol(bounded)
        bounded.connection_made(self._transport)
        self._answers = bounded
        return greeting

    async def _fetch(self, uids: str, parts: str) -> list[Any]:
        return self._expect(await self._bounded(self._protocol.uid("FETCH", uids, parts), "FETCH"), "FETCH")

    async def _bounded(self, call: Coroutine[Any, Any, Any], name: str) -> Any:
        task = asyncio.ensure_future(call)
        if self._protocol is not None:
            self._answers.received_bytes = 0
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._until(task)
            return task.result()
        except (TimeoutError, OSError, ValueError, aioimaplib.AioImapException) as error:
            self.kill()
            raise MailboxUnreachable(f"{name} failed: {type(error).__name__}: {error}") from error
        except BaseException:
            self.kill()
            raise
        finally:
            task.cancel()

    async def _until(self, *tasks: asyncio.Future[Any], seconds: float | None = None) -> None:
        """Wait for the first of the tasks; the loss of the connection ends it."""
        done, _ = await asyncio.wait(
            {*tasks, self._lost}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        if self._lost in done and not any(task.done() for task in tasks):
            raise MailboxUnreachable(f"the connection was lost ({self._lost.result()})")

    def _expect(self, answer: Any, name: str) -> list[Any]:
        if answer.result != "OK":
            self.kill()
            text = bytes(answer.lines[-1])[:100].decode("ascii", "replace") if answer.lines else ""
            raise MailboxUnreachable(f"{name} was answered {answer.result}: {text}")
        return list(answer.lines)


class _BoundedProtocol(asyncio.Protocol):
    """Stands between transport and aioimaplib: limits an answer's size and turns every end into `lost`."""

    def __init__(self, inner: Any, lost: asyncio.Future[str], limit_bytes: int) -> None:
        self._inner = inner
        self._lost = lost
        self._limit_bytes = limit_bytes
        self._transport: asyncio.BaseTransport | None = None
        self.received_bytes = 0
        self.saw_change = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self.received_bytes += len(data)
        self.saw_change = self.saw_change or b" EXISTS\r\n" in data
        if self.received_bytes > self._limit_bytes:
            self._end("the answer is too large")
            return
        try:
            self._inner.data_received(data)
        except (aioimaplib.AioImapException, ValueError, IndexError, RecursionError, AttributeError) as error:
            self._end(f"unexpected answer: {type(error).__name__}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(type(exc).__name__ if exc else "closed by the server")

    def _end(self, why: str) -> None:
        if not self._lost.done():
            self._lost.set_result(why)
        if isinstance(self._transport, asyncio.Transport):
            self._transport.abort()


def quoted(text: str) -> str:
    """Return an IMAP quoted string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def mailbox_name(name: str) -> str:
    """Return a folder's name as it goes over the wire. Source: RFC 3501 section 5.1.3."""
    pieces = re.split(r"([^\x20-\x7e]+)", name.replace("&", "&-"))
    return quoted("".join(piece if i % 2 == 0 else _modified_base64(piece) for i, piece in enumerate(pieces)))


def _modified_base64(text: str) -> str:
    return "&" + b64encode(text.encode("utf-16-be")).decode().rstrip("=").replace("/", ",") + "-"


def _says_bye(lines: Any) -> bool:
    return isinstance(lines, list) and any(bytes(line).upper().startswith(b"BYE") for line in lines)


def _info(line: Any) -> MailInfo | None:
    uid, size, flags = _UID.search(line), _SIZE.search(line), _FLAGS.search(line)
    if uid is None or size is None:
        return None
    return MailInfo(
        uid=int(uid[1]),
        size_bytes=int(size[1]),
        arrived_at=_internal_date(line),
        is_marked=flags is not None and KEYWORD.encode() in flags[1].split(),
    )


def _internal_date(line: Any) -> datetime:
    found = _INTERNAL_DATE.search(line)
    try:
        text = found[1].decode("ascii").strip() if found else ""
        return datetime.strptime(text, "%d-%b-%Y %H:%M:%S %z").astimezone(UTC)
    except (ValueError, UnicodeDecodeError, OverflowError):
        return datetime.now(UTC)
