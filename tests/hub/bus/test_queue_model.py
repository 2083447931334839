"""The ordered queue's scripts against a model of a few lines, under random sequences of calls."""

import asyncio
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.hub.bus.queue_machine import QueueMachine
from tests.hub.bus.queue_scripts import Scripts
from tests.servers.direct import DirectRedis
from tests.servers.redis import RedisServer

STEPS = 100_000
"""Calls of rules that a run makes at least; each is one to five commands, and then all keys are compared."""
STEPS_OF_AN_EXAMPLE = 60
EXAMPLES = 2_000
"""Some end before their last step."""


@pytest.fixture(scope="module")
def quick_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DirectRedis]:
    """A client of a server that does not wait for its disk."""
    with RedisServer(tmp_path_factory.mktemp("redis"), appendfsync="no") as server:
        server_of_many_calls = DirectRedis(server.port)
        # Nothing is to be read back, and what is written for it would fill the disk.
        server_of_many_calls.command("CONFIG", "SET", "appendonly", "no")
        yield server_of_many_calls
        server_of_many_calls.close()


def test_scripts_agree_with_the_model(quick_redis: DirectRedis) -> None:
    """Publish, read, enter, renew, pause, expire, commit, nack, crash, forget, retire and replay, in any order."""
    scripts = Scripts(quick_redis)
    machine: Any = partial(QueueMachine, quick_redis, scripts)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS_OF_AN_EXAMPLE,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert scripts.steps["step"] >= STEPS
    assert quick_redis.calls >= 2 * STEPS
    sys.stderr.write(
        f"\n{scripts.steps['step']} steps, {quick_redis.calls} commands: {dict(scripts.steps)}\n"
    )
    for call in (
        "publish",
        "read",
        "enter",
        "renew",
        "commit",
        "nack",
        "purge",
        "cancel",
        "retire",
        "orphans",
    ):
        assert scripts.steps[f"call {call}"] > 1_000, call
    assert asyncio._get_running_loop() is None
