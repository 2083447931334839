"""A hub on a machine that has no network but its own loopback; run by test_egress.py in a network namespace.

Prints as JSON how many packets anything wanted to send elsewhere, as the kernel counts them, and what the hub tells itself.
"""

import asyncio
import contextlib
import json
import socket
import sys
from pathlib import Path

from tests.hub_process import HubProcess


def unroutable() -> int:
    """Count what any program here wanted to send to another machine: there is no way to any."""
    head, values = (
        line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Ip:")
    )
    six = dict(line.split() for line in Path("/proc/net/snmp6").read_text().splitlines())
    return int(dict(zip(head, values, strict=True))["OutNoRoutes"]) + int(six["Ip6OutNoRoutes"])


def peers() -> set[str]:
    """Give the other ends of all TCP connections here, as the kernel writes them."""
    lines = (
        Path("/proc/net/tcp").read_text().splitlines()[1:]
        + Path("/proc/net/tcp6").read_text().splitlines()[1:]
    )
    return {line.split()[2].partition(":")[0] for line in lines}


async def live(folder: Path) -> dict[str, object]:
    """Ask a hub with all defaults, give it a document, stop it, and ask it again."""
    page = folder / "ferry.md"
    page.write_text("# Ferry\n\nThe ferry to Divar leaves every twenty minutes.\n")
    hub, seen, answers = HubProcess(folder / "data"), set[str](), list[str]()
    for _ in range(2):
        async with hub:
            if not answers:
                await hub.command("ingest", str(page))
            answers.append(
                (await hub.post("/chat", {"prompt": "How often does the ferry to Divar leave?"}))[1][
                    "response"
                ]
            )
            seen |= peers()
            shown = json.loads(await hub.command("egress", "--json"))
    return {"answers": answers, "peers": sorted(seen), "egress": shown["connections"], "log": hub.log()}


def main() -> None:
    """Live, count, and show that the count would have told."""
    told = asyncio.run(live(Path(sys.argv[1])))
    told["unroutable"] = unroutable()
    with socket.socket() as end, contextlib.suppress(OSError):
        end.connect(("192.0.2.1", 443))
    told["counts"] = unroutable() == int(str(told["unroutable"])) + 1
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
