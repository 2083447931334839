"""A client of a Redis Cluster that keeps the rules of `connection`: each command goes to the node that owns its slot.

redis-py's own client of a Cluster is not used: it sends ASKING over one connection and the command it is meant for
over another, closes the connections of commands that are under way when some slot was moved, and refuses what finds
no free connection. Here each node has a client of redis-py, and nothing is repeated but what a node has refused.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import redis.exceptions
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from hub.bus.keys import Keys
from hub.redis_address import Node

T = TypeVar("T")
Work = Callable[[Redis, bool], Awaitable[T]]
"""Uses one node; True where each command must come right after an ASKING."""

PATIENCE_S = 2.0
"""How long a command waits for a slot that is being moved, while some of its keys are here and some there."""
MOST_REDIRECTIONS = 8
_PAUSE_S = 0.02
_SCRIPTS = ("EVAL", "EVALSHA")
_STREAMS = ("XREAD", "XREADGROUP")
_AWAY = (
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.ClusterDownError,
    OSError,
)


def slot_of(key: str | bytes) -> int:
    """Return the slot of a key, or of a pattern whose hash tag is plain."""
    return int(key_slot(key if isinstance(key, bytes) else key.encode("utf-8", "replace")))


FIRST_SHARD = slot_of(Keys().fence)


def first_key(args: Sequence[Any]) -> str | bytes | None:
    """Return the first key of a command of ours; None where it has none, as PING.

    Raises: redis.exceptions.RedisClusterException: it is for one node, and nobody has said which.
    """
    name = str(args[0])
    if name in _SCRIPTS:
        return args[3] if len(args) > 3 and int(args[2]) else None
    if name in _STREAMS:
        return next((args[at + 1] for at, one in enumerate(args) if one in (b"STREAMS", "STREAMS")), None)
    command = name.split(maxsplit=1)[0]
    if command in _OF_EACH_NODE:
        raise redis.exceptions.RedisClusterException(
            f"{command} is about one node of the Cluster; ask each of `masters()`, or use `hub.bus.nodes`"
        )
    if len(args) < 2 or command in _KEYLESS:
        return None
    return args[1] if isinstance(args[1], str | bytes) else str(args[1])


_KEYLESS = frozenset({"CLUSTER", "ECHO", "PING", "TIME", "WAIT"})
_OF_EACH_NODE = frozenset(
    {
        *("ACL", "BGREWRITEAOF", "BGSAVE", "CONFIG", "DBSIZE", "FLUSHALL", "FLUSHDB", "INFO", "KEYS", "ROLE"),
        *("SCAN", "SCRIPT", "SLOWLOG"),
    }
)
"""What one node would answer for itself alone, as if it were all."""


class _Slots:
    """Who owns which slot, as far as this process knows."""

    def __init__(self, seeds: Sequence[Node], ask: Callable[[Node], Awaitable[Any]]) -> None:
        self._seeds = list(seeds)
        self._ask = ask
        self._owners: list[Node | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._replicas: set[Node] = set()
        self._doubted: set[Node] = set()
        self._asking = asyncio.Lock()
        self._known = 0
        """How often the Cluster has told who owns what."""

    async def owner(self, slot: int) -> Node:
        """Return who owns a slot; asks the Cluster where that is not known, or its owner did not answer lately."""
        owner = self._owners[slot]
        if owner is None or owner in self._doubted:
            await self.refresh(self._known)
            owner = self._owners[slot]
        if owner is None:
            raise redis.exceptions.ClusterDownError(f"no node of the Cluster serves slot {slot}")
        return owner

    def move(self, slot: int, node: Node) -> None:
        """Note what a node has told of a slot."""
        if 0 <= slot < REDIS_CLUSTER_HASH_SLOTS:
            self._owners[slot] = node

    def doubt(self, node: Node) -> None:
        """Ask the Cluster before this node is used again: another may have taken over."""
        self._doubted.add(node)

    async def masters(self) -> list[Node]:
        """Return all nodes that own slots, as the Cluster tells now."""
        await self.refresh(self._known)
        return sorted({node for node in self._owners if node is not None})

    async def replicas(self) -> list[Node]:
        """Return all nodes that copy others, as the Cluster tells now."""
        await self.refresh(self._known)
        return sorted(self._replicas)

    async def refresh(self, known: int) -> None:
        """Ask the Cluster who owns what, unless somebody did since `known` was read."""
        async with self._asking:
            if self._known != known:
                return
            failed = None
            for node in self._candidates():
                try:
                    answer = await self._ask(node)
                except _AWAY as error:
                    failed = error
                    continue
                except redis.exceptions.ResponseError as error:
                    if "cluster support disabled" in str(error):
                        raise redis.exceptions.RedisClusterException(
                            f"{node[0]}:{node[1]} is a single server, no node of a Cluster: take redis:// for it"
                        ) from error
                    raise
                try:
                    self._take(answer, node)
                except (TypeError, ValueError, IndexError) as error:
                    failed = redis.exceptions.ClusterDownError(
                        f"{node[0]}:{node[1]} does not tell who owns which slot: {error}"
                    )
                    continue
                return
        shown = ", ".join(f"{host}:{port}" for host, port in self._seeds)
        raise redis.exceptions.ConnectionError(
            f"no node of the Cluster answers, asked first: {shown}: {failed}"
        )

    def _candidates(self) -> list[Node]:
        """Return whom to ask, those last that did not answer."""
        known = [*{node for node in self._owners if node is not None}, *self._replicas, *self._seeds]
        return sorted(dict.fromkeys(known), key=lambda node: node in self._doubted)

    def _take(self, answer: Any, asked: Node) -> None:
        owners: list[Node | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        replicas = set[Node]()
        for first, last, master, *others in answer:
            owner = _node(master, asked)
            if not 0 <= int(first) <= int(last) < REDIS_CLUSTER_HASH_SLOTS:
                raise ValueError(f"slots {int(first)} to {int(last)}")
            owners[int(first) : int(last) + 1] = [owner] * (int(last) - int(first) + 1)
            replicas |= {_node(other, asked) for other in others}
        if not any(owners):
            # One that has just been set up, or was reset, is in no Cluster yet: another seed may be.
            raise ValueError("it is in no Cluster")
        self._owners, self._replicas = owners, replicas
        self._doubted.clear()
        self._known += 1


def _node(told: Sequence[Any], asked: Node) -> Node:
    host = told[0].decode() if isinstance(told[0], bytes) else told[0]
    # A node that does not know its own address tells none, or "?": it is the one that was asked.
    return (host if host and host != "?" else asked[0], int(told[1]))


class ClusterRedis(Redis):
    """The Cluster behind the interface of one Redis.

    What has no key, as TIME, goes to the node of the first shard. Keys of one command, script or transaction must
    share a slot; those of a pipeline that is no transaction need not.

    Args:
        seeds: some of the nodes.
        make_pool: connections to a node.
    """

    def __init__(self, seeds: Sequence[Node], make_pool: Callable[[Node], ConnectionPool]) -> None:
        # Never connected: it is there for what all nodes have in common, as the encoding.
        super().__init__(connection_pool=make_pool(seeds[0]))
        self._make_pool = make_pool
        self._nodes: dict[Node, Redis] = {}
        self._slots = _Slots(seeds, self._ask_slots)
        self._sources: dict[str, str] = {}

    async def _ask_slots(self, node: Node) -> Any:
        client: Any = self.node(node)
        return await client.execute_command("CLUSTER SLOTS")

    def node(self, node: Node) -> Redis:
        """Return the client of one node."""
        if node not in self._nodes:
            self._nodes[node] = Redis.from_pool(self._make_pool(node))
        return self._nodes[node]

    async def owner(self, slot: int) -> Redis:
        """Return the client of the node that owns a slot."""
        return self.node(await self._slots.owner(slot))

    async def masters(self) -> dict[str, Redis]:
        """Return the clients of all nodes that own slots, by their addresses."""
        return {f"{host}:{port}": self.node((host, port)) for host, port in await self._slots.masters()}

    async def replicas(self) -> dict[str, Redis]:
        """Return the clients of all nodes that copy others, by their addresses."""
        return {f"{host}:{port}": self.node((host, port)) for host, port in await self._slots.replicas()}

    def lost(self, client: Redis) -> None:
        """Note that a node did not answer: another may have taken over."""
        for node, one in self._nodes.items():
            if one is client:
                self._slots.doubt(node)

    def moved(self, error: redis.exceptions.MovedError) -> None:
        """Note that a slot is somebody else's now."""
        if error.host:
            self._slots.move(error.slot_id, (error.host, error.port))

    async def routed(self, slot: int, work: Work[T]) -> T:
        """Do something on the node that owns a slot; again elsewhere where a node refused to do it.

        Raises: redis.exceptions.ConnectionError, redis.exceptions.TimeoutError: the node is away, and nobody knows
            whether it was done.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + PATIENCE_S
        redirections, asked = 0, None
        while redirections <= MOST_REDIRECTIONS:
            at = asked or await self._slots.owner(slot)
            try:
                return await work(self.node(at), asked is not None)
            except redis.exceptions.MovedError as error:
                self._slots.move(slot, (error.host or at[0], error.port))
                redirections, asked = redirections + 1, None
            except redis.exceptions.AskError as error:
                redirections, asked = redirections + 1, (error.host or at[0], error.port)
            except redis.exceptions.TryAgainError:
                asked = None
                if clock() > deadline:
                    raise
                await asyncio.sleep(_PAUSE_S)
                # One that waits for a long move is told the way anew each time.
                redirections = 0
            except _AWAY:
                self._slots.doubt(at)
                raise
        raise redis.exceptions.TryAgainError(f"the nodes of the Cluster do not agree who has slot {slot}")

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command on the node of its first key."""

        async def work(node: Any, asking: bool) -> Any:
            if not asking:
                return await node.execute_command(*args, **options)
            return (await asked_commands(node, [(args, options)]))[0]

        key = first_key(args)
        try:
            return await self.routed(FIRST_SHARD if key is None else slot_of(key), work)
        except redis.exceptions.NoScriptError:
            if args[0] != "EVALSHA" or args[1] not in self._sources:
                raise
            # Loaded by running it: each node keeps scripts of its own.
            return await self.execute_command("EVAL", self._sources[args[1]], *args[2:], **options)

    def register_script(self, script: Any) -> Any:
        """Return the script, to be called with its keys."""
        made = super().register_script(script)
        self._sources[made.sha] = script
        return made

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> "ClusterPipeline":
        """Return a pipeline; as a transaction all of its keys must share a slot."""
        return ClusterPipeline(self, transaction=transaction)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close the connections to all nodes."""
        await super().aclose(close_connection_pool)
        for node in self._nodes.values():
            await node.aclose()


class ClusterPipeline(Pipeline):
    """Commands that are sent together, to each node its own."""

    def __init__(self, cluster: ClusterRedis, *, transaction: bool) -> None:
        super().__init__(cluster.connection_pool, cluster.response_callbacks, transaction, None)
        self._cluster = cluster

    async def watch(self, *names: Any) -> Any:  # type: ignore[override]  # redis-py types it as if it waited for nothing
        """Watch keys of one slot; what follows runs on its node."""
        for _ in range(MOST_REDIRECTIONS):
            await self.reset()  # type: ignore[no-untyped-call]  # of redis-py
            node = await self._cluster.owner(slot_of(names[0]))
            self.connection_pool = node.connection_pool
            try:
                return await super().watch(*names)
            except redis.exceptions.MovedError as error:
                self._cluster.moved(error)
            except _AWAY:
                self._cluster.lost(node)
                raise
        raise redis.exceptions.TryAgainError("the nodes of the Cluster do not agree who has these keys")

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Run all commands, and return their answers in order."""
        if self.watching or self.explicit_transaction:
            try:
                return await super().execute(raise_on_error)
            except redis.exceptions.MovedError as error:
                self._cluster.moved(error)
                raise redis.exceptions.WatchError("the keys have moved to another node") from error
        commands, self.command_stack = self.command_stack, []
        by_slot: dict[int, list[int]] = {}
        for number, (args, _) in enumerate(commands):
            key = first_key(args)
            by_slot.setdefault(FIRST_SHARD if key is None else slot_of(key), []).append(number)
        if self.is_transaction and len(by_slot) > 1:
            raise redis.exceptions.CrossSlotTransactionError("the keys of a transaction must share a slot")
        run = self._transaction if self.is_transaction else self._plain
        parts = await asyncio.gather(
            *(run(slot, [commands[number] for number in numbers]) for slot, numbers in by_slot.items()),
            return_exceptions=True,
        )
        answers: list[Any] = [None] * len(commands)
        for numbers, part in zip(by_slot.values(), parts, strict=True):
            if isinstance(part, BaseException):
                raise part
            for number, answer in zip(numbers, part, strict=True):
                answers[number] = answer
        if raise_on_error:
            self.raise_first_error(commands, answers)
        return answers

    async def _transaction(self, slot: int, commands: list[Any]) -> list[Any]:
        async def work(node: Redis, asking: bool) -> list[Any]:
            if asking:
                raise redis.exceptions.TryAgainError("the keys are being moved to another node")
            return await _pipelined(node, commands, transaction=True)

        return await self._cluster.routed(slot, work)

    async def _plain(self, slot: int, commands: list[Any]) -> list[Any]:
        async def work(node: Redis, asking: bool) -> list[Any]:
            return await _pipelined(node, commands, transaction=False)

        answers = await self._cluster.routed(slot, work)
        for number, answer in enumerate(answers):
            if isinstance(answer, redis.exceptions.AskError | redis.exceptions.TryAgainError):
                # Refused by this node; those that were not are done.
                args, options = commands[number]
                try:
                    answers[number] = await self._cluster.execute_command(*args, **options)
                except redis.exceptions.ResponseError as error:
                    answers[number] = error
        return answers


async def _pipelined(node: Redis, commands: Sequence[Any], *, transaction: bool) -> list[Any]:
    pipe: Any = node.pipeline(transaction=transaction)
    for args, options in commands:
        pipe.execute_command(*args, **options)
    answers: list[Any] = await pipe.execute(raise_on_error=False)
    return answers


async def asked_commands(node: Redis, commands: Sequence[Any]) -> list[Any]:
    """Run commands on a node that is taking over their slot: each right after an ASKING, on one connection."""
    asking: tuple[tuple[str], dict[str, Any]] = (("ASKING",), {})
    answers = await _pipelined(node, [part for one in commands for part in (asking, one)], transaction=False)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers[1::2]
