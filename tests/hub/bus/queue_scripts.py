"""The ordered queue's scripts, loaded once for all sequences of calls, and all that its keys hold in one look."""

from collections import Counter
from pathlib import Path
from typing import Any

import hub.bus
from hub.bus.keys import Keys
from hub.bus.queue import OrderedQueue
from tests.hub.bus.queue_model import LANES, LIMITS

OUTBOUND = "outbound:web"

# What all keys hold, in one round trip.
SNAPSHOT = """
local held = {redis.call('XRANGE', KEYS[1], '-', '+'), redis.call('XRANGE', KEYS[2], '-', '+'),
  redis.call('XRANGE', KEYS[3], '-', '+'), redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 100)}
for i = 4, #KEYS, 2 do
  held[#held + 1] = redis.call('LRANGE', KEYS[i], 0, -1)
  held[#held + 1] = redis.call('HGETALL', KEYS[i + 1])
end
return held
"""


class Scripts:
    """The scripts as all examples use them, loaded once."""

    def __init__(self, redis: Any) -> None:
        self.queue = OrderedQueue(redis, Keys(), "inbound", "engine", LIMITS)
        keys = self.queue.keys
        self.purge = redis.register_script((Path(hub.bus.__file__).parent / "scripts/purge.lua").read_text())
        self.snapshot = redis.register_script(SNAPSHOT)
        self.snapshot_keys = [self.queue.stream, keys.dead, keys.stream(OUTBOUND)]
        for lane in LANES:
            self.snapshot_keys += [keys.lane("inbound", lane), keys.cancelled("inbound", lane)]
        self.steps: Counter[str] = Counter()
