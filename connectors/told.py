"""What a connector keeps of a person, as it is handed out to them: the same names that an erasure removes."""

import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

from connectors.store import Store


async def told(
    store: Store, values: Iterable[str], sets: Iterable[str] = ()
) -> AsyncIterator[dict[str, Any]]:
    """Give what lies under some names, one row for each name.

    Args:
        values: names of single values.
        sets: names of sets.
    """
    for name in values:
        if (value := await store.get(name)) is not None:
            yield {"name": name, "value": plain(value)}
    for name in sets:
        if members := await store.members(name):
            yield {"name": name, "values": [plain(member) for member in members]}


def plain(value: str) -> Any:
    """Read a value that was kept as JSON; others are text."""
    try:
        return json.loads(value)
    except ValueError:
        return value
