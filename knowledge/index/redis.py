"""Vectors in a Redis with the Query Engine: one index for many machines.

It needs Redis 8, or an older one with the module RediSearch. Every vector is a hash under a prefix of its embedding
model; the ids stand in a set beside them, so that they can be compared with the database.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from redis import Redis, RedisError, ResponseError
from redis.commands.search.field import VectorField
from redis.commands.search.index_definition import IndexDefinition, IndexType
from redis.commands.search.query import Query
from redis.sentinel import Sentinel

from hub.errors import KnowledgeError
from hub.redis_address import read_address
from knowledge.index.base import Hidden, Hit, Ids, Index, unit_rows
from knowledge.index.redis_keys import ids_key, index_name, manifest_key, vector_key
from knowledge.passages import Vectors

BATCH = 500
"""Vectors written in one transaction: about a megabyte."""
LINKS, EF_CONSTRUCTION, EF_SEARCH = 32, 200, 128
MAX_NEIGHBOURS = 4_000
"""So many are asked for at most to find some that are not hidden; then all that are not are compared."""
_FIRST_WIDER = 4
TIMEOUT_S = 10.0


class RedisIndex:
    """Vectors of one embedding model in Redis, scored by cosine in an HNSW graph; approximate."""

    kind = "hnsw"

    def __init__(self, redis: Redis, name: str, dimension: int) -> None:
        self.dimension = dimension
        self._redis: Any = redis
        self._name = name

    @property
    def size(self) -> int:
        """How many vectors can be found."""
        with _redis_errors("counted"):
            return int(self._redis.scard(ids_key(self._name)))

    def ids(self) -> Ids:
        """Give the ids of all vectors."""
        with _redis_errors("listed"):
            members = self._redis.smembers(ids_key(self._name))
        return np.fromiter((int(member) for member in members), np.int64, len(members))

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """Add vectors; each batch is one transaction."""
        rows = unit_rows(vectors, self.dimension)
        if len(ids) != len(rows):
            raise KnowledgeError(f"expected {len(ids)} vectors, found {len(rows)}")
        with _redis_errors("written"):
            for start in range(0, len(ids), BATCH):
                part = slice(start, start + BATCH)
                pairs = list(zip(ids[part].tolist(), rows[part], strict=True))
                with self._redis.pipeline(transaction=True) as writing:
                    for number, row in pairs:
                        writing.hsetnx(vector_key(self._name, number), "vector", row.astype("<f4").tobytes())
                    writing.sadd(ids_key(self._name), *(number for number, _ in pairs))
                    writing.execute()

    def remove(self, ids: Ids) -> int:
        """Remove vectors, each batch in one transaction."""
        numbers, removed = ids.tolist(), 0
        with _redis_errors("removed"):
            for start in range(0, len(numbers), BATCH):
                part = numbers[start : start + BATCH]
                with self._redis.pipeline(transaction=True) as writing:
                    writing.srem(ids_key(self._name), *part)
                    writing.unlink(*(vector_key(self._name, number) for number in part))
                    removed += int(writing.execute()[0])
        return removed

    def search(self, vector: Vectors, k: int, hidden: Hidden | None = None) -> Sequence[Hit]:
        """Find the nearest vectors; exactly when the nearest thousands are hidden."""
        query = unit_rows(vector.reshape(1, -1), self.dimension)[0]
        if k < 1:
            return []
        if hidden is None:
            return self._nearest(query, k)
        size, wanted = self.size, k * _FIRST_WIDER
        while True:
            found = self._nearest(query, wanted)
            shown = ~_are_hidden(np.array([hit.id for hit in found], np.int64), hidden)
            kept = [hit for hit, is_shown in zip(found, shown, strict=True) if is_shown]
            if len(kept) >= k or wanted >= size:
                return kept[:k]
            if wanted >= MAX_NEIGHBOURS:
                all_ids = self.ids()
                return self._compared(query, k, all_ids[~_are_hidden(all_ids, hidden)])
            wanted *= 4

    def drop(self) -> None:
        """Remove the index with everything in it."""
        with _redis_errors("removed"):
            self._redis.ft(self._name).dropindex(delete_documents=True)
            self._redis.unlink(ids_key(self._name), manifest_key(self._name))

    def _nearest(self, query: Vectors, k: int) -> list[Hit]:
        asked = (
            Query(f"*=>[KNN $k @vector $asked EF_RUNTIME {max(EF_SEARCH, 4 * k)} AS distance]")
            .return_fields("distance")
            .sort_by("distance")
            .paging(0, k)
            .dialect(2)
        )
        parameters = {"k": k, "asked": query.astype("<f4").tobytes()}
        with _redis_errors("searched"):
            found = self._redis.ft(self._name).search(asked, query_params=parameters)
        # The metric is 1 - cosine. Source: Redis documentation, "Vector search concepts", distance metrics.
        return [_hit(int(row.id.rpartition(":")[2]), 1 - float(row.distance)) for row in found.docs]

    def _compared(self, query: Vectors, k: int, among: Ids) -> list[Hit]:
        """Compare with each of some vectors."""
        hits: list[Hit] = []
        for start in range(0, len(among), BATCH):
            numbers = among[start : start + BATCH].tolist()
            with _redis_errors("searched"), self._redis.pipeline(transaction=False) as reading:
                for number in numbers:
                    reading.hget(vector_key(self._name, number), "vector")
                blobs = reading.execute()
            for number, blob in zip(numbers, blobs, strict=True):
                if blob is not None:
                    hits.append(_hit(number, float(np.frombuffer(blob, "<f4") @ query)))
            hits = sorted(hits, key=lambda hit: -hit.score)[:k]
        return hits


class RedisHome:
    """A Redis with the Query Engine, and the index of one embedding model in it."""

    def __init__(self, url: str, *, model: str) -> None:
        """Reach for the server.

        Raises: KnowledgeError: there is no URL, nobody answers, or it has no Query Engine.
        """
        if not url:
            raise KnowledgeError(
                'knowledge.index = "redis" needs bus.redis_url: the embedded Redis cannot search'
            )
        self._name = index_name(model)
        self._model = model
        client: Any = _opened(url)
        self._redis = client
        try:
            client.execute_command("FT._LIST")
        except ResponseError as error:
            _close(client)
            raise KnowledgeError(
                'knowledge.index = "redis" needs a Redis with the Query Engine (Redis 8, or RediSearch): '
                f"{error}"
            ) from error
        except RedisError as error:
            _close(client)
            raise KnowledgeError(f"the Redis of the index cannot be reached: {error}") from error

    def create(self, dimension: int) -> RedisIndex:
        """Make an empty index.

        Should two processes do so at the same moment, each puts in all vectors after it has emptied it.
        """
        with _redis_errors("emptied"):
            try:
                self._redis.ft(self._name).dropindex(delete_documents=True)
            except ResponseError as error:
                if not _is_missing(error):
                    raise
            self._redis.unlink(ids_key(self._name), manifest_key(self._name))
        return self._made(dimension)

    def open(self) -> tuple[RedisIndex, int]:
        """Give the index that any process has saved."""
        with _redis_errors("opened"):
            dimension, model, version = self._redis.hmget(
                manifest_key(self._name), ["dimension", "model", "version"]
            )
            if dimension is None or version is None:
                raise KnowledgeError("there is no index in Redis yet")
            if model.decode() != self._model:
                raise KnowledgeError(f"the index in Redis is of another model: {model.decode()}")
            # After a loss of the definition it is made again over the vectors that are there.
            return self._made(int(dimension)), int(version)

    def save(self, index: Index, version: int) -> None:
        """Write the version down; the vectors are there already."""
        if not isinstance(index, RedisIndex):
            raise KnowledgeError(f"expected an index of Redis, found {type(index).__name__}")
        with _redis_errors("saved"):
            self._redis.hset(manifest_key(self._name), mapping={"model": self._model, "version": version})

    def _made(self, dimension: int) -> RedisIndex:
        make_definition: Any = IndexDefinition
        parameters = {
            "TYPE": "FLOAT32",
            "DIM": dimension,
            "DISTANCE_METRIC": "COSINE",
            "M": LINKS,
            "EF_CONSTRUCTION": EF_CONSTRUCTION,
        }
        with _redis_errors("made"):
            try:
                self._redis.ft(self._name).create_index(
                    [VectorField("vector", "HNSW", parameters)],
                    definition=make_definition(prefix=[f"{self._name}:"], index_type=IndexType.HASH),
                )
            except ResponseError as error:
                if "already exists" not in str(error).lower():
                    raise
            self._redis.hset(manifest_key(self._name), "dimension", dimension)
        return RedisIndex(self._redis, self._name, dimension)


def _opened(url: str) -> Redis:
    address = read_address(url)
    timeouts = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
    if address.kind == "single":
        return Redis.from_url(url, **timeouts)
    if address.kind == "cluster":
        raise KnowledgeError(
            'knowledge.index = "redis" is not there on a Cluster, whose nodes each search their own part only; leave '
            'it at "faiss", which every machine keeps for itself'
        )
    asked = {**timeouts, "ssl": address.tls, **address.sentinel_options}
    untyped: Any = Sentinel
    made: Redis = untyped(address.nodes, sentinel_kwargs=asked).master_for(
        address.master, ssl=address.tls, **timeouts, **address.options
    )
    return made


def _close(client: Any) -> None:
    client.close()
    manager = getattr(client.connection_pool, "sentinel_manager", None)
    for sentinel in manager.sentinels if manager else ():
        sentinel.close()


def _is_missing(error: ResponseError) -> bool:
    # Its text has changed over the versions: "Unknown Index name", "no such index".
    return any(part in str(error).lower() for part in ("unknown index", "no such index", "not found"))


def _are_hidden(ids: Ids, hidden: Hidden) -> NDArray[np.bool_]:
    """Tell of each id whether it must not be found."""
    within = ids < len(hidden)
    found: NDArray[np.bool_] = within & hidden[np.where(within, ids, 0)] if len(hidden) else within
    return found


def _hit(number: int, score: float) -> Hit:
    return Hit(id=number, score=min(1.0, max(-1.0, score)))


@contextmanager
def _redis_errors(what: str) -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise KnowledgeError(f"the index in Redis could not be {what}: {error}") from error
