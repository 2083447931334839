"""One IMAP connection on which nothing can wait for ever: aioimaplib with a deadline around every call.

aioimaplib's own time-outs do not fire in several states (a BYE in answer to IDLE, a literal that stops half-way,
a connection that is lost), so every call here races the caller's deadline and the loss of the connection, and
the transport is cut on either.
"""

import asyncio
import contextlib
import re
import ssl
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from aioimaplib import aioimaplib

from connectors.email.imap_wire import (
    KEYWORD,
    UID,
    BoundedProtocol,
    ListedFolder,
    MailInfo,
    listed_folders,
    mail_info,
    mailbox_name,
    quoted,
    says_bye,
)
from hub.email_settings import MailAccountSettings
from hub.errors import ConnectorError

METADATA_BATCH = 50
"""aioimaplib reads the lines of an answer recursively: a few hundred at once would break the connection."""

_CODE = re.compile(rb"\[(UIDVALIDITY|UIDNEXT) (\d+)\]", re.IGNORECASE)
_PERMANENT_FLAGS = re.compile(rb"\[PERMANENTFLAGS \(([^)]*)\)\]", re.IGNORECASE)


class MailboxUnreachable(ConnectorError):
    """The IMAP server does not answer, refuses, or speaks nonsense; a new connection may cure it."""


class CommandRefused(MailboxUnreachable):
    """The server understood a command and said NO; the connection can still be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """What SELECT told."""

    uid_validity: int
    uid_next: int
    """0 where the server does not tell."""
    keeps_keyword: bool


class ImapClient:
    """A connection to one account.

    Raises: MailboxUnreachable, from every method: the connection is then cut and of no further use, unless it is
        CommandRefused.
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
        return self._can("IDLE")

    @property
    def can_move(self) -> bool:
        """Whether mail can be moved without touching other mail that somebody has marked as deleted."""
        return self._can("MOVE") or self._can("UIDPLUS")

    @property
    def is_lost(self) -> bool:
        """Whether the connection is of no further use."""
        return self._lost.done()

    @property
    def saw_change(self) -> bool:
        """Whether the server has spoken of new mail since the last search; IDLE would not repeat it."""
        return bool(self._answers.saw_change)

    async def noop(self) -> None:
        """Let the server tell what has changed."""
        await self._simple("NOOP")

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
                if (info := mail_info(line)) is not None:
                    found[info.uid] = info
        return [found[uid] for uid in uids if uid in found]

    async def raw(self, uid: int) -> bytes | None:
        """Return a mail's bytes without marking it as read; None when it is gone by now.

        Raises: MailboxUnreachable: also when the server speaks of the mail and does not hand it over.
        """
        lines = await self._fetch(str(uid), f"(UID BODY.PEEK[]<0.{self._max_bytes}>)")
        for before, line, after in zip([b"", *lines], lines, [*lines[1:], b""], strict=False):
            if isinstance(line, bytearray):
                named = UID.search(bytes(before)) or UID.search(bytes(after))
                if named and int(named[1]) == uid:
                    return bytes(line)
        told = (UID.search(bytes(line)) for line in lines if not isinstance(line, bytearray))
        if any(named and int(named[1]) == uid for named in told):
            raise MailboxUnreachable("FETCH was answered without the mail")
        return None

    async def mark(self, uids: Sequence[int]) -> None:
        """Set the hub's keyword on mails."""
        await self._uid("STORE", uids, "+FLAGS.SILENT", f"({KEYWORD})")

    async def move(self, uids: Sequence[int], folder: str) -> None:
        """Put mails into another folder, which is made when there is none; their flags go with them.

        Raises: CommandRefused: the server cannot do it without touching other mail, or will not.
        """
        if not self.can_move:
            # EXPUNGE without UIDs would remove what the owner has only marked as deleted.
            raise CommandRefused("the server has neither MOVE nor UIDPLUS")
        try:
            await self._move(uids, folder)
        except CommandRefused as refused:
            # No server makes a folder by itself. Source: RFC 3501 section 6.4.7.
            try:
                await self._simple("CREATE", mailbox_name(folder))
            except CommandRefused:
                raise refused from None
            await self._move(uids, folder)

    async def folders(self, pattern: str) -> list[ListedFolder]:
        """Return the folders whose names match, `%` standing for anything on one level."""
        return listed_folders((await self._simple("LIST", '""', mailbox_name(pattern)))[:-1])

    async def sent_folder(self) -> str:
        """Return the name of the folder that the server itself calls the one for sent mail, or an empty string.

        Source: RFC 6154; two levels are looked at, as Gmail keeps it in `[Gmail]`.
        """
        top = await self.folders("%")
        deeper = f"%{top[0].delimiter}%" if top and top[0].delimiter else ""
        listed = [*top, *(await self.folders(deeper) if deeper else [])]
        return next((folder.name for folder in listed if "\\sent" in folder.attributes), "")

    async def has_message(self, folder: str, message_id: str) -> bool:
        """Tell whether a folder holds a mail with this Message-ID; one that does not exist holds none."""
        try:
            await self.select(folder)
        except CommandRefused as error:
            # Source: RFC 5530. Any other refusal tells nothing.
            if "[NONEXISTENT]" in str(error).upper():
                return False
            raise
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
            if idling.done() or (push.done() and not push.cancelled() and says_bye(push.result())):
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
        bounded = BoundedProtocol(self._protocol, self._lost, self._max_bytes * 2 + 1_048_576)
        self._transport.set_protocol(bounded)
        bounded.connection_made(self._transport)
        self._answers = bounded
        return greeting

    def _can(self, capability: str) -> bool:
        return capability in self._protocol.capabilities

    async def _move(self, uids: Sequence[int], folder: str) -> None:
        name = mailbox_name(folder)
        if self._can("MOVE"):
            await self._uid("MOVE", uids, name)
            return
        await self._uid("COPY", uids, name)
        await self._uid("STORE", uids, "+FLAGS.SILENT", "(\\Deleted)")
        await self._uid("EXPUNGE", uids)

    async def _uid(self, command: str, uids: Sequence[int], *arguments: str) -> None:
        call = self._protocol.uid(command, ",".join(map(str, uids)), *arguments)
        self._expect(await self._bounded(call, command), command)

    async def _simple(self, command: str, *arguments: str) -> list[Any]:
        answer = await self._bounded(self._protocol.simple_command(command, *arguments), command)
        return self._expect(answer, command)

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
        if answer.result == "OK":
            return list(answer.lines)
        text = bytes(answer.lines[-1])[:100].decode("ascii", "replace") if answer.lines else ""
        told = f"{name} was answered {answer.result}: {text}"
        if answer.result == "NO":
            raise CommandRefused(told)
        self.kill()
        raise MailboxUnreachable(told)
