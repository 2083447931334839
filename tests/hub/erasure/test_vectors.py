"""Vectors of an erased person leave the index in Redis with the erasure itself, whether an engine runs or not."""

import asyncio
from pathlib import Path

from hub.database import database_url, sync_engine
from hub.erasure.person import Principal
from knowledge.index.redis_keys import PREFIX, ids_key, index_name, vector_key
from knowledge.library import Library
from tests.hub.erasure import database
from tests.hub.erasure.world import ANA, BEN, BOT, Member, World

NAMED = Principal(connector="telegram", account=BOT, person=ANA.number)
OLD_MODEL = "a model that was used before"


async def _with_document(world: World, who: Member) -> int:
    """Give somebody a document of their own; returns the id of its chunk, whose vector is in the index."""
    chunk = await database.plant(
        world.settings, who.telegram(), f"telegram-{BOT}-{who.number}", who.number, who.word
    )
    world.add_vector("m", chunk, who.word)
    return chunk


async def _vectors(world: World) -> dict[bytes, bytes]:
    """Return every hash of the indexes as Redis would copy it to another server."""
    keys = [key async for key in world.client.scan_iter(f"{PREFIX}*", _type="hash")]
    return {key: await world.client.dump(key) for key in sorted(keys)}


def _is_written(folder: Path, value: bytes) -> bool:
    """Tell whether a value stands in a file of Redis."""
    return any(value in file.read_bytes() for file in folder.rglob("*") if file.is_file())


async def test_the_vectors_of_an_erased_person_are_in_no_key_and_no_file(
    world: World, redis_folder: Path
) -> None:
    """In the indexes of all models; those of others stay byte for byte, and the receipt counts."""
    ana, ben = await _with_document(world, ANA), await _with_document(world, BEN)
    world.add_vector(OLD_MODEL, ana, ANA.word)
    world.add_vector(OLD_MODEL, ben, BEN.word)
    before, plain = await _vectors(world), database.vector_of(ANA.word).astype("<f4").tobytes()
    assert _is_written(redis_folder, plain)

    receipt = await world.eraser().erase(NAMED)

    hers = {vector_key(index_name(model), ana).encode() for model in ("m", OLD_MODEL)}
    assert len(before) == 4
    assert await _vectors(world) == {key: value for key, value in before.items() if key not in hers}
    for model in ("m", OLD_MODEL):
        assert await world.client.smembers(ids_key(index_name(model))) == {str(ben).encode()}
    assert (receipt.removed["vectors"], receipt.left["vectors"]) == (2, 0)
    assert not _is_written(redis_folder, plain)
    assert (await world.eraser().erase(NAMED)).removed["vectors"] == 0


async def test_vectors_whose_documents_are_gone_already_are_found(world: World) -> None:
    """An erasure was killed between the two, or an engine has put one back that it had read before."""
    ana, _ = await _with_document(world, ANA), await _with_document(world, BEN)
    engine = sync_engine(database_url(world.settings))
    await asyncio.to_thread(Library(engine).forget_person, NAMED.mark)
    engine.dispose()
    # Half of a vector was removed: the other half counts, too.
    await world.client.delete(vector_key(index_name("m"), ana))
    before = await _vectors(world)

    receipt = await world.eraser().erase(NAMED)

    assert receipt.removed["vectors"] == 1
    assert not await world.client.sismember(ids_key(index_name("m")), ana)
    assert await _vectors(world) == before
