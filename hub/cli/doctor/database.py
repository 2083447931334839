"""The database: whether it answers, what its tables are of, who may operate the hub, and how documents are embedded."""

import asyncio

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from hub.backup.database import kind_of, path_of
from hub.cli.doctor.finding import Finding, fail, ok, warn
from hub.database import DatabaseError, current_revision, database_url, newest_revision, sync_engine
from hub.key_tables import ApiKeyRow
from hub.keys import ADMIN_SCOPE
from hub.messages import utc_now
from hub.operators.tables import OperatorRow
from hub.settings import Settings

_CAUSES = (
    ("password authentication failed", "Correct user and password in HUBBUB_DATABASE_URL."),
    ("does not exist", "Make it with `createdb --encoding UTF8 --template template0 NAME`, or correct HUBBUB_DATABASE_URL."),
    ("refused", "Start that server, or correct HUBBUB_DATABASE_URL."),
    ("could not translate host name", "There is no such host: correct HUBBUB_DATABASE_URL."),
    ("is not installed", "Run `.venv/bin/pip install -c constraints.txt -e '.[postgres]'`."),
    ("malformed", "Stop the hub and restore a backup with `hubbub restore FILE --force`."),
    ("not a database", "Stop the hub and restore a backup with `hubbub restore FILE --force`."),
)  # fmt: skip


async def look_at_database(settings: Settings) -> list[Finding]:
    """Look at the database of the settings; nothing in it is changed."""
    return await asyncio.to_thread(_look, settings)


def _look(settings: Settings) -> list[Finding]:
    url = ""
    try:
        url = database_url(settings)
        if kind_of(url) == "sqlite" and not path_of(url).exists():
            return [ok("database", f"{path_of(url)} is made at the first start")]
        engine = sync_engine(url)
    except (DatabaseError, SQLAlchemyError, ValueError) as error:
        advice = _cure_of(
            str(error), "Set HUBBUB_DATABASE_URL to postgresql://USER:PASSWORD@HOST/NAME, or leave it out."
        )
        return [fail("database", f"database_url cannot be used: {error}".partition("\n")[0], advice)]
    try:
        return _opened(engine, settings)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or type(error).__name__).strip().partition("\n")[0]
        return [
            fail("database", f"it cannot be used: {reason}", _cure_of(reason, "Correct HUBBUB_DATABASE_URL."))
        ]
    finally:
        engine.dispose()


def _cure_of(reason: str, otherwise: str) -> str:
    return next((advice for words, advice in _CAUSES if words in reason), otherwise)


def _opened(engine: Engine, settings: Settings) -> list[Finding]:
    found, newest = current_revision(engine), newest_revision()
    name = engine.dialect.name
    if found is None:
        return [ok("database", f"{name}, without tables yet")]
    if found > newest:
        text = f"its tables are of revision {found}, this program knows {newest}: a newer Hubbub has changed them"
        advice = "Update Hubbub with `git pull && make run`, or restore an older backup with `hubbub restore FILE --force`."
        return [fail("database", text, advice)]
    if found < newest:
        text = f"{name}, revision {found}; the next start brings it to {newest}"
        return [warn("database", text, "Run `hubbub backup` first: there is no way back to older tables.")]
    return [ok("database", f"{name}, revision {found}"), _operator(engine), *_embeddings(engine, settings)]


def _operator(engine: Engine) -> Finding:
    with engine.connect() as connection:
        keys = connection.execute(
            select(ApiKeyRow.scopes, ApiKeyRow.expires_at).where(ApiKeyRow.revoked_at.is_(None))
        ).all()
        accounts = connection.execute(
            select(func.count()).select_from(OperatorRow).where(OperatorRow.disabled_at.is_(None))
        ).scalar_one()
    good = [
        row
        for row in keys
        if ADMIN_SCOPE in row.scopes and (not row.expires_at or row.expires_at > utc_now())
    ]
    if good or accounts:
        return ok("operators", f"{accounts} accounts, {len(good)} keys with the scope admin")
    return warn(
        "operators",
        "there is no operator: nobody can sign in, and no key has the scope admin",
        "Run `hubbub operator add NAME --role admin`, if documents and people are to be looked after by HTTP.",
    )


def _embeddings(engine: Engine, settings: Settings) -> list[Finding]:
    """Compare how the documents are embedded with how questions would be."""
    from knowledge.embedder import Embedder  # noqa: PLC0415 - a large library
    from knowledge.tables import ChunkRow  # noqa: PLC0415

    embedder = Embedder(settings.knowledge)
    try:
        model = embedder.model
    finally:
        embedder.close()
    size = func.length(ChunkRow.embedding)
    query = select(ChunkRow.embedding_model, size, func.count()).group_by(ChunkRow.embedding_model, size)
    with engine.connect() as connection:
        rows = connection.execute(query).all()
    others = [(name, length // 4, count) for name, length, count in rows if name != model]
    if not others:
        return [ok("documents", f"{sum(row[2] for row in rows)} passages, embedded as questions are")]
    chunks = sum(count for *_, count in others)
    named = ", ".join(f"{name} ({dimensions} dimensions)" for name, dimensions, _ in others[:3])
    return [
        warn(
            "documents",
            f"{chunks} passages are embedded by {named}, questions by {model}: they are not found before they are embedded again",
            "Run `hubbub ingest` for their folders again, or set `embedding_model` in the table [knowledge] as it was; `hubbub index info` "
            "shows how many can be searched.",
        )
    ]
