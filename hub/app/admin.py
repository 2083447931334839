"""Puts together what operators work on by HTTP."""

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from importlib.metadata import version
from typing import IO

from sqlalchemy.ext.asyncio import AsyncEngine

from engine.memory.facts import in_first_person, restated, told_facts
from engine.output import visible
from hub.admin.conversations import ArchivedConversations, KeptConversations
from hub.admin.dead import DeadLetterDesk
from hub.admin.erasures import Erasures
from hub.admin.events import EventBook
from hub.admin.people import PeopleBook
from hub.admin.remembered import Remembered
from hub.admin.settings_shown import shown_settings
from hub.api.admin.ports import AdminParts
from hub.app.documents import Documents, Gaps
from hub.app.erasure import make_eraser
from hub.app.export import personal_records
from hub.audit import AuditLog
from hub.bus.bus import Bus
from hub.bus.calls import Caller
from hub.database import database_url
from hub.egress.book import EgressBook
from hub.erasure.person import Principal
from hub.errors import HubError
from hub.export.archive import write_zip
from hub.key_usage import UsageBook
from hub.operators.desk import Operators
from hub.settings import Settings


class PersonalArchives:
    """Writes a person's archive, apart from the event loop."""

    def __init__(self, settings: Settings, redis_url: str) -> None:
        self._settings = settings
        self._redis_url = redis_url

    async def archive(self, principals: Sequence[Principal]) -> IO[bytes]:
        """Write it into a file without a name, in the data folder: it may be large, and nobody else may read it."""
        # A long log is read to its end, which would hold up everybody who asks something.
        return await asyncio.to_thread(lambda: asyncio.run(self._write(principals)))

    async def _write(self, principals: Sequence[Principal]) -> IO[bytes]:
        bus = Bus(self._redis_url, self._settings.bus)
        file = tempfile.TemporaryFile(dir=self._settings.data)  # noqa: SIM115 - whoever gets it closes it
        try:
            person = await make_eraser(self._settings, bus).find(*principals)
            sources = personal_records(self._settings, bus)
            await write_zip(file, sources, person, version=version("hubbub"), step=lambda *_: None)
        except OSError as error:
            file.close()
            raise HubError(f"the archive cannot be written: {error.strerror}") from error
        except BaseException:
            file.close()
            raise
        finally:
            await bus.close()
        return file


def open_admin(
    settings: Settings,
    bus: Bus,
    caller: Caller,
    database: AsyncEngine,
    opened: AsyncExitStack,
    asked: asyncio.Event,
) -> AdminParts:
    """Open what operators work on.

    Args:
        database: with its tables up to date.
        opened: closes with the process what is opened here.
        asked: is set whenever an erasure is to be done.
    """
    url = database_url(settings)
    documents = Documents(settings.knowledge, url, caller)
    opened.push_async_callback(documents.close)
    operators = Operators.on(database, settings.operators)
    opened.callback(operators.close)
    shards = settings.bus.shards
    return AdminParts(
        documents=documents,
        max_document_bytes=settings.knowledge.max_document_bytes,
        gaps=Gaps(settings.gaps, url),
        people=PeopleBook(bus.redis, shards=shards),
        remembered=Remembered(bus.redis, database, restate, shards=shards),
        erasures=Erasures(bus.redis, asked),
        exports=PersonalArchives(settings, bus.url),
        operators=operators,
        audit=AuditLog(database),
        conversations=(
            ArchivedConversations(database) if settings.memory.archive else KeptConversations(bus.history)
        ),
        dead=DeadLetterDesk(bus),
        events=EventBook(bus.redis, bus.url, shards=shards),
        usage=UsageBook(database),
        settings=shown_settings(settings),
        speaking=_speaking(settings),
        egress=EgressBook(bus.redis),
    )


def _speaking(settings: Settings) -> frozenset[str]:
    """Name the channels that are set up and need no message to reply to, as mail does."""
    found = {name for name, table in settings.connectors.items() if table.get("type", name) == "http"}
    if settings.web.enabled:
        found.add("web")
    if settings.telegram.token.get_secret_value():
        found.add("telegram")
    return frozenset(found)


def restate(key: str, known: str, said: str) -> str:
    """Say a fact with what somebody says in its place: the right words alone, or a sentence, by the person or about them.

    Returns: a sentence about the user; nothing where it is no fact of this kind.
    """
    shown = visible(said).strip()
    for sentence in (shown, in_first_person(shown)):
        if told := told_facts(sentence):
            # A sentence that tells another fact is no value of this one.
            return told[key].text if key in told else ""
    return restated(key, known, shown)
