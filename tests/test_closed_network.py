"""What runs in a closed network: it has this machine's loopback, its user, and nothing else."""

import json
import os
import subprocess
import sys

from tests.closed_network import enclosed

LOOK = """
import errno, json, os, socket
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname(), 5).close()
errors = []
for address in ("8.8.8.8", "2606:4700::1111"):
    try:
        socket.create_connection((address, 53), 5)
    except OSError as error:
        errors.append(errno.errorcode[error.errno])
capabilities = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff"))
print(json.dumps([os.geteuid(), [name for _, name in socket.if_nameindex()], errors, capabilities]))
"""


def test_nothing_but_the_machine_itself_is_reached() -> None:
    """By a program of any kind: the kernel knows no way. Who runs it stays who they are, with no more rights."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - a file of the kernel
        mine = next(line.split()[1] for line in status if line.startswith("CapEff"))

    done = subprocess.run(
        enclosed([sys.executable, "-c", LOOK]), capture_output=True, text=True, check=True, timeout=60
    )

    user, interfaces, errors, capabilities = json.loads(done.stdout)
    assert user == os.geteuid()
    assert "lo" in interfaces
    assert errors == ["ENETUNREACH", "ENETUNREACH"]
    assert int(capabilities, 16) == int(mine, 16)


def test_where_no_network_can_be_made_the_command_runs_all_the_same() -> None:
    """And says so: here the program that would make one is not found."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.closed_network", "/bin/echo", "done"],
        env={**os.environ, "PATH": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "Other machines could be reached by what the tests start: no network namespace may be made here: "
        "util-linux and the right to use it are needed.",
        "done",
    ]
