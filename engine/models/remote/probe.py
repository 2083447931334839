"""Asks the endpoints of a remote model whether they are there, without letting them generate anything."""

import asyncio
from dataclasses import dataclass

import aiohttp
import orjson
from yarl import URL

from engine.models.remote import refusals
from engine.models.remote.connection import addresses, below, key_header, open_session
from hub.errors import HubError
from hub.http_client import connection_fault
from hub.model_settings import RemoteSettings

TIMEOUT_S = 10.0
MAX_BYTES = 1 << 20
_SHOWN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What one endpoint said."""

    host: str
    answers: bool
    text: str


async def probe(name: str, settings: RemoteSettings) -> list[Probed]:
    """Ask every endpoint of a model for its list of models.

    Raises: SettingsError: its table is wrong.
    """
    urls = addresses(name, settings)
    async with open_session(settings) as session:
        return list(await asyncio.gather(*(_probe(url, settings, session) for url in urls)))


async def _probe(url: URL, settings: RemoteSettings, session: aiohttp.ClientSession) -> Probed:
    host = f"{url.host}:{url.port}"
    try:
        async with asyncio.timeout(TIMEOUT_S):
            names = await _names(url, host, settings, session)
    except HubError as error:
        return Probed(host=host, answers=False, text=str(error))
    except (aiohttp.ClientError, OSError) as error:
        return Probed(host=host, answers=False, text=f"{host} cannot be asked: {connection_fault(error)}")
    if not names or settings.model in names:
        return Probed(host=host, answers=True, text=f"{host} answers")
    known = refusals.shown(", ".join(names[:_SHOWN]), settings)
    # Some servers take any name for the one model they have.
    return Probed(
        host=host, answers=True, text=f"{host} answers; it does not list {settings.model}, but: {known}"
    )


async def _names(url: URL, host: str, settings: RemoteSettings, session: aiohttp.ClientSession) -> list[str]:
    async with session.get(
        below(url, "/models"), headers=key_header(settings), allow_redirects=False
    ) as response:
        if response.status != 200:
            await refusals.check(response, host, settings)
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > MAX_BYTES:
                break
    try:
        rows = orjson.loads(body)["data"]
        return [str(row["id"]) for row in rows]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise HubError(f"{host} has no OpenAI-compatible API at this path") from None
