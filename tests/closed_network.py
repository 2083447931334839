"""Runs a command in a network that has this machine's loopback alone: nothing that it starts can reach another machine.

    python -m tests.closed_network make test

Where no such network may be made it says so, and runs the command as it is.
"""

import fcntl
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence

SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1
INSIDE = "--inside"
USER_WAY = ("unshare", "--map-current-user", "--keep-caps", "--net")
"""As anybody, into a user namespace in which one keeps one's name; the capabilities are for the loopback."""
ROOT_WAY = ("unshare", "--net")
SUDO_WAY = ("sudo", "-n", "-E", *ROOT_WAY)
NO_CAPABILITIES = ("setpriv", "--ambient-caps", "-all", "--inh-caps", "-all")


def enclosed(command: Sequence[str]) -> list[str]:
    """Return what runs a command in a network of its own, as the same user.

    Raises: OSError: no such network may be made here.
    """
    ways: list[tuple[tuple[str, ...], tuple[str, ...]]]
    if os.geteuid() == 0:
        ways = [(ROOT_WAY, ())]
    else:
        user = ("setpriv", "--reuid", str(os.getuid()), "--regid", str(os.getgid()), "--init-groups")
        ways = [(USER_WAY, NO_CAPABILITIES), (SUDO_WAY, (*user, *NO_CAPABILITIES))]
    for way, again in ways:
        before = [*way, sys.executable, "-m", "tests.closed_network", INSIDE, *again]
        try:
            if subprocess.run([*before, "true"], capture_output=True, check=False).returncode == 0:
                return [*before, *command]
        except FileNotFoundError:
            continue
    raise OSError("no network namespace may be made here: util-linux and the right to use it are needed")


def _bring_up_loopback() -> None:
    with socket.socket() as end:
        fcntl.ioctl(end, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP))


def main(words: list[str]) -> None:
    """Become the command."""
    if words[:1] == [INSIDE]:
        _bring_up_loopback()
        words = words[1:]
    else:
        try:
            words = enclosed(words)
        except OSError as error:
            sys.stdout.write(f"Other machines could be reached by what the tests start: {error}.\n")
            sys.stdout.flush()
    os.execvp(words[0], words)


if __name__ == "__main__":
    main(sys.argv[1:])
