"""Whether an external Redis would lose what it accepted: asked before the first message."""

from typing import Any

import redis.exceptions
import structlog
from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.bus.embedded import OLDEST
from hub.errors import SettingsError
from hub.settings import BusSettings

log = structlog.get_logger(__name__)


async def durability_faults(client: Redis, settings: BusSettings) -> list[str]:
    """Return a sentence for everything that would lose messages; an empty list is good news."""
    untyped: Any = client
    with bus_errors("Redis cannot be asked for its settings"):
        info = await untyped.info()
        try:
            config = await untyped.config_get("append*", "maxmemory-policy")
        except redis.exceptions.ResponseError:
            # Hosted servers often forbid CONFIG; what INFO tells is judged, the rest is the host's word.
            log.warning("redis_config_hidden")
            config = {}
    faults = []
    version = str(info.get("redis_version", "0.0"))
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        faults.append(f"it is version {version}, 6.2 is the oldest supported")
    policy = _text(config.get("maxmemory-policy", info.get("maxmemory_policy", "noeviction")))
    if policy != "noeviction":
        faults.append(
            f"maxmemory-policy is {policy}: it drops messages when memory is full; set it to noeviction"
        )
    if not int(info.get("aof_enabled", 0)):
        faults.append("appendonly is no: it forgets messages when it is killed; set it to yes")
    fsync = _text(config.get("appendfsync", settings.appendfsync))
    if fsync == "no" or (settings.appendfsync == "always" and fsync != "always"):
        faults.append(
            f"appendfsync is {fsync}: a power cut loses accepted messages; set it to always, or set the hub's "
            "bus.appendfsync to everysec if a second of loss is acceptable"
        )
    return faults


async def require_durable(client: Redis, settings: BusSettings) -> None:
    """Raise SettingsError when the server would lose messages and the settings do not allow it."""
    faults = await durability_faults(client, settings)
    if not faults:
        return
    if settings.allow_unsafe_redis:
        log.warning("redis_unsafe", faults=faults)
        return
    listed = "\n".join(f"  - {fault}" for fault in faults)
    raise SettingsError(
        f"this Redis would lose messages:\n{listed}\nSet bus.allow_unsafe_redis = true to start all the same."
    )


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
