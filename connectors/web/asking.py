"""A visitor's message on its way to the bus: its files, its limits, and the error that stands for each failure."""

import zlib
from collections import OrderedDict

from connectors.base import Accepted
from connectors.web.day_caps import DayCaps
from connectors.web.frames import Ask, FrameError
from connectors.web.services import Services
from connectors.web.sites import Site
from connectors.web.visitors import Visitor
from hub.errors import BusError, BusFull
from hub.messages import Address, Attachment, InboundMessage
from hub.text import normalise

REMEMBERED = 100
"""Messages of a socket whose text is remembered, to tell a repetition from a conflict."""


class Asking:
    """Publishes what one visitor asks on one socket."""

    def __init__(self, services: Services, site: Site, visitor: Visitor, language: str) -> None:
        self._services = services
        self._site = site
        self._visitor = visitor
        self._language = language
        self._caps = DayCaps(services.store)
        self._said: OrderedDict[str, int] = OrderedDict()

    async def publish(self, ask: Ask) -> Accepted:
        """Store the message.

        Raises: FrameError: it was not stored, and why.
        """
        publish = self._services.publish()
        if publish is None:
            raise FrameError("starting", id=ask.id, retry_ms=1000)
        try:
            message = self._message(ask, await self._files(ask))
            if not await self._caps.take(self._site, self._visitor, message.external_key):
                raise FrameError("day_limit", id=ask.id)
            is_stored = False
            try:
                accepted = await publish(message)
                is_stored = not accepted.lane_full
            finally:
                if not is_stored:
                    await self._caps.give_back(self._site, self._visitor, message.external_key)
        except BusFull as error:
            raise FrameError("busy", id=ask.id, retry_ms=round(error.retry_after_s * 1000)) from error
        except BusError as error:
            raise FrameError("unavailable", id=ask.id, retry_ms=2000) from error
        if accepted.lane_full:
            raise FrameError("busy", id=ask.id, retry_ms=5000)
        return accepted

    def said_otherwise(self, ask: Ask) -> bool:
        """Tell whether this id came with another text before; the first text is the one that counts."""
        digest = zlib.crc32(normalise(ask.text).encode())
        first = self._said.setdefault(ask.id, digest)
        if len(self._said) > REMEMBERED:
            self._said.popitem(last=False)
        return first != digest

    async def _files(self, ask: Ask) -> tuple[Attachment, ...]:
        files = await self._services.files.find(self._visitor, ask.files)
        if files is None:
            raise FrameError("no_file", id=ask.id)
        return files

    def _message(self, ask: Ask, files: tuple[Attachment, ...]) -> InboundMessage:
        visitor = self._visitor
        return InboundMessage(
            external_key=f"web:{visitor.id}:{ask.id}",
            conversation=visitor.conversation,
            address=Address(
                connector="web",
                account=self._site.name,
                chat=visitor.id,
                person=visitor.id,
                # Nobody else has the token, whether the hub has signed it or the site.
                is_verified=True,
            ),
            # Who sends a file without a word asks about the file.
            text=normalise(ask.text).strip() or ", ".join(file.name for file in files),
            attachments=files,
            language=self._language,
            reply={"language": self._language},
            stream=True,
        )
