"""The hub that is handed out is the one that is erased elsewhere."""

from tests.hub.erasure.conftest import own_redis, projector, redis_folder, world

__all__ = ["own_redis", "projector", "redis_folder", "world"]
