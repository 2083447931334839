"""Look-ups that are shared."""

import asyncio

import pytest

from hub.api.lookups import SharedLookups


class Shelf:
    """Looks things up one after another, each once it is let."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.value = "old"
        self.looked = 0

    async def look_up(self, name: str) -> str:
        """Return what was there when it began."""
        self.looked += 1
        found = self.value
        self.begun.set()
        await self.may_end.wait()
        if name == "broken":
            raise LookupError(name)
        return found


async def test_many_share_one_look_up() -> None:
    """The first one is looked up for itself; whoever comes meanwhile shares the next."""
    shelf, lookups = Shelf(), SharedLookups[str]()
    first = asyncio.create_task(lookups.of("a", shelf.look_up))
    await shelf.begun.wait()
    others = [asyncio.create_task(lookups.of("a", shelf.look_up)) for _ in range(100)]
    await asyncio.sleep(0)
    shelf.may_end.set()

    found = await asyncio.gather(first, *others)

    assert found == ["old"] * 101
    assert shelf.looked == 2


async def test_nobody_is_told_what_was_true_before_they_asked() -> None:
    """A key that was revoked before a request came is never let in by a look-up that began before."""
    shelf, lookups = Shelf(), SharedLookups[str]()
    before = asyncio.create_task(lookups.of("a", shelf.look_up))
    await shelf.begun.wait()
    shelf.value = "new"
    after = asyncio.create_task(lookups.of("a", shelf.look_up))
    await asyncio.sleep(0)
    shelf.may_end.set()

    assert (await before, await after) == ("old", "new")


async def test_one_that_leaves_ends_nothing() -> None:
    """Others still get what they asked for."""
    shelf, lookups = Shelf(), SharedLookups[str]()
    leaves = asyncio.create_task(lookups.of("a", shelf.look_up))
    stays = asyncio.create_task(lookups.of("a", shelf.look_up))
    await shelf.begun.wait()
    leaves.cancel()
    shelf.may_end.set()

    assert await stays == "old"
    assert shelf.looked == 1


async def test_all_are_told_of_a_failure_and_the_next_one_tries_again() -> None:
    """What is broken does not stay so."""
    shelf, lookups = Shelf(), SharedLookups[str]()
    shelf.may_end.set()

    for _ in range(2):
        tasks = [lookups.of("broken", shelf.look_up) for _ in range(3)]
        assert all(
            isinstance(one, LookupError) for one in await asyncio.gather(*tasks, return_exceptions=True)
        )
    with pytest.raises(LookupError):
        await lookups.of("broken", shelf.look_up)

    assert shelf.looked == 3
