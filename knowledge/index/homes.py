"""Where indexes lie: the one place that knows every implementation."""

from collections.abc import Callable
from pathlib import Path

from hub.settings import Settings
from knowledge.index.base import IndexHome


def index_folder(settings: Settings) -> Path:
    """Give the folder of the vector index."""
    return settings.data.expanduser().resolve() / "index"


def index_home(settings: Settings, model: str) -> IndexHome:
    """Give the home of an embedding model's index, as the settings want it.

    Raises: KnowledgeError: the Redis of the settings has no Query Engine or cannot be reached.
    """
    return _HOMES[settings.knowledge.index](settings, model)


def _in_files(settings: Settings, model: str) -> IndexHome:
    from knowledge.index.faiss import FaissHome  # noqa: PLC0415 - only who needs it pays for FAISS

    return FaissHome(folder=index_folder(settings), model=model)


def _in_redis(settings: Settings, model: str) -> IndexHome:
    from knowledge.index.redis import RedisHome  # noqa: PLC0415

    return RedisHome(settings.bus.redis_url.get_secret_value(), model=model)


_HOMES: dict[str, Callable[[Settings, str], IndexHome]] = {"faiss": _in_files, "redis": _in_redis}
