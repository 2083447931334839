"""How the hub's processes end."""

import pytest
from structlog.testing import capture_logs

from hub.cli.run import _run
from hub.errors import BusError


async def fail_with(error: Exception) -> None:
    """Be a process in which something goes wrong."""
    raise error


def test_a_fault_of_our_own_is_a_log_line() -> None:
    """Whoever collects the logs finds it among the others."""
    with capture_logs() as logs, pytest.raises(SystemExit) as ended:
        _run(fail_with(ZeroDivisionError()))

    assert ended.value.code == 1
    assert [entry["event"] for entry in logs] == ["process_failed"]


def test_what_the_operator_can_cure_is_told_by_the_command_line() -> None:
    """The command says it in one sentence."""
    with pytest.raises(BusError):
        _run(fail_with(BusError("Redis does not answer")))
