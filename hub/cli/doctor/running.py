"""Whether a hub runs on these settings just now."""

from hub.app import redis_url
from hub.bus.connection import connect
from hub.bus.heartbeat import is_alive
from hub.errors import BusError, SettingsError
from hub.settings import Settings


async def is_running(settings: Settings, role: str) -> bool:
    """Tell whether a process of a role lives: `hub` or `engine`; False where Redis cannot be asked."""
    try:
        client = connect(redis_url(settings), connections=1)
    except (SettingsError, ValueError):
        return False
    try:
        return await is_alive(client, role)
    except BusError:
        return False
    finally:
        await client.aclose()
