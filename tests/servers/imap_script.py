"""An IMAP server that misbehaves on command, for what no real server can be made to do."""

import asyncio
from collections import deque
from typing import Literal

Fault = Literal[
    "",
    "no greeting",
    "bye as greeting",
    "silent after login",
    "bye on idle",
    "silent on idle",
    "bye in idle",
    "close in idle",
    "silent in idle",
    "half a literal",
    "literal in drops",
    "endless literal",
    "nonsense",
    "no sizes",
    "no literals",
]


class ScriptedImap:
    """Speaks just enough IMAP for one mailbox; each connection takes the next of `faults`.

    `async with` keeps it listening on `port`.
    """

    def __init__(self) -> None:
        self.mails: dict[int, bytes] = {}
        self.uid_validity = 1
        self.faults: deque[Fault] = deque()
        self.connections = 0
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> "ScriptedImap":
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop, and cut what is still connected."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()

    def deliver(self, raw: bytes) -> None:
        """Put a mail into the mailbox."""
        self.mails[max(self.mails, default=0) + 1] = raw
        self._changed.set()

    def renumber(self) -> None:
        """Give all mails new UIDs from 1 on, and cut the connections that know the old ones."""
        self.uid_validity += 1
        self.mails = dict(enumerate(self.mails.values(), 1))
        for task in self._tasks:
            task.cancel()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        fault: Fault = self.faults.popleft() if self.faults else ""
        try:
            if fault == "no greeting":
                await reader.read()
                return
            if fault == "bye as greeting":
                writer.write(b"* BYE overloaded\r\n")
                return
            writer.write(b"* OK ready\r\n")
            while line := await reader.readline():
                if await self._answer(line.decode().split(), reader, writer, fault):
                    return
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()

    async def _answer(
        self, words: list[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault
    ) -> bool:
        tag, command = words[0], words[1].upper()
        if command == "UID":
            command = words[2].upper()
        if command == "CAPABILITY":
            writer.write(b"* CAPABILITY IMAP4rev1 IDLE\r\n")
        elif command == "SELECT":
            if fault == "silent after login":
                await reader.read()
                return True
            writer.write(
                f"* {len(self.mails)} EXISTS\r\n* OK [UIDVALIDITY {self.uid_validity}] x\r\n".encode()
            )
            writer.write(f"* OK [UIDNEXT {max(self.mails, default=0) + 1}] x\r\n".encode())
            writer.write(b"* OK [PERMANENTFLAGS (\\Seen)] x\r\n")
        elif command == "SEARCH":
            if fault == "nonsense":
                writer.write(b"* SEARCH (((\r\n+ what\r\nZZ99 OK never asked\r\n")
                await reader.read()
                return True
            # Like a real server: `n:*` names the last mail even when its UID is below n.
            writer.write(f"* SEARCH {' '.join(map(str, self._found(words)))}\r\n".encode())
        elif command == "FETCH":
            return await self._fetch(words, reader, writer, fault)
        elif command == "IDLE":
            return await self._idle(tag, reader, writer, fault)
        elif command == "LOGOUT":
            writer.write(b"* BYE\r\n")
        writer.write(f"{tag} OK done\r\n".encode())
        return False

    def _found(self, words: list[str]) -> list[int]:
        if "HEADER" not in words:
            return list(self.mails)
        value = words[-1].strip('"').encode()
        return [uid for uid, raw in self.mails.items() if value in raw]

    async def _fetch(
        self, words: list[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault
    ) -> bool:
        for number, uid in enumerate(map(int, words[3].split(",")), 1):
            raw = self.mails[uid]
            if "BODY" not in words[5]:
                date = '"21-Nov-2026 10:00:00 +0000"'
                size = "" if fault == "no sizes" else f" RFC822.SIZE {len(raw)}"
                line = f"* {number} FETCH (UID {uid} FLAGS () INTERNALDATE {date}{size})\r\n"
                writer.write(line.encode())
                continue
            if fault == "no literals":
                writer.write(f'* {number} FETCH (UID {uid} BODY[]<0> "From: x")\r\n'.encode())
                continue
            if fault == "endless literal":
                writer.write(f"* {number} FETCH (UID {uid} BODY[]<0> {{999999999}}\r\n".encode())
                while True:
                    writer.write(b"x" * 65_536)
                    await writer.drain()
            writer.write(f"* {number} FETCH (UID {uid} BODY[]<0> {{{len(raw)}}}\r\n".encode())
            if fault == "literal in drops":
                # Each drop comes well within any time-out between two of them.
                for byte in raw:
                    writer.write(bytes([byte]))
                    await asyncio.sleep(0.1)
            if fault == "half a literal":
                writer.write(raw[: len(raw) // 2])
                await reader.read()
                return True
            writer.write(raw + b")\r\n")
        writer.write(f"{words[0]} OK done\r\n".encode())
        return False

    async def _idle(
        self, tag: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault
    ) -> bool:
        if fault == "bye on idle":
            writer.write(b"* BYE shutting down\r\n")
            await reader.read()
            return True
        if fault == "silent on idle":
            await reader.read()
            return True
        writer.write(b"+ idling\r\n")
        if fault == "bye in idle":
            writer.write(b"* BYE shutting down\r\n")
        if fault in {"bye in idle", "silent in idle"}:
            # The connection stays open, and nothing more is said, not even in answer to DONE.
            await reader.read()
        if fault in {"bye in idle", "silent in idle", "close in idle"}:
            return True
        done = asyncio.ensure_future(reader.readline())
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait({done, changed}, return_when=asyncio.FIRST_COMPLETED)
            if changed.done():
                self._changed.clear()
                writer.write(f"* {len(self.mails)} EXISTS\r\n".encode())
            await done
        finally:
            done.cancel()
            changed.cancel()
        writer.write(f"{tag} OK done\r\n".encode())
        return False
