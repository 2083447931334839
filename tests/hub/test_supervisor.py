"""The supervisor of `hubbub up`: its children end when they are told to, one way or the other."""

import asyncio
import os
import sys
from pathlib import Path

from hub.supervisor import Child

STUBBORN = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).touch()
time.sleep(600)
"""


async def test_a_child_that_does_not_end_is_killed(tmp_path: Path) -> None:
    """`hubbub up` ends within its deadline although a part of it hangs."""
    started = tmp_path / "started"
    with (tmp_path / "lock").open("w") as lock:
        child = Child("stubborn", (), os.environ, lock=lock.fileno(), patience_s=0.2)
        child._command = (sys.executable, "-c", STUBBORN, str(started))
        stop = asyncio.Event()
        watching = asyncio.create_task(child.watch(stop))

        async with asyncio.timeout(30):
            while not started.exists():
                await asyncio.sleep(0.02)
            stop.set()
            await watching

    assert child._process is not None
    assert child._process.returncode == -9
