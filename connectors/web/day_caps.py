"""How many messages a site and each of its visitors may send in a day."""

from collections.abc import Mapping

from connectors.store import Store
from connectors.web.sites import Site
from connectors.web.visitors import Visitor

DAY_S = 86_400


class DayCaps:
    """Counts messages, each once however often it is sent."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def take(self, site: Site, visitor: Visitor, key: str) -> bool:
        """Count a message; False when the site or the visitor has had enough for today.

        Raises: BusError: Redis is away.
        """
        caps = _caps(site, visitor)
        # A message that comes again was counted the first time: it has to get its acceptance even at the cap.
        if not caps or not await self._store.claim(f"asked:{key}", DAY_S):
            return True
        sums = {name: await self._store.increment(name, DAY_S) for name in caps}
        if all(sums[name] <= cap for name, cap in caps.items()):
            return True
        await self.give_back(site, visitor, key)
        return False

    async def is_full(self, site: Site) -> bool:
        """Tell whether a site has had enough for today.

        Raises: BusError: Redis is away.
        """
        cap = site.messages_per_day
        return bool(cap) and int(await self._store.get(f"day:{site.name}") or 0) >= cap

    async def give_back(self, site: Site, visitor: Visitor, key: str) -> None:
        """Count a message out that was not stored after all.

        Raises: BusError: Redis is away; it stays counted.
        """
        if caps := _caps(site, visitor):
            for name in caps:
                await self._store.increment(name, DAY_S, -1)
            await self._store.delete(f"asked:{key}")


def _caps(site: Site, visitor: Visitor) -> Mapping[str, int]:
    caps = {
        f"day:{site.name}": site.messages_per_day,
        f"day:{site.name}:{visitor.id}": site.messages_per_visitor_day,
    }
    return {name: cap for name, cap in caps.items() if cap}
