"""The checker of histories: it accepts what is right, and refuses each way of breaking a promise."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.broken_histories import MUTATIONS, Rows, add, erased, good, of
from tests.faults.checker import CHECKS, check
from tests.faults.history import History, read_history


def test_a_good_history_is_accepted() -> None:
    """Also one in which a request was left unanswered, repeated and counted, and one with an erasure."""
    rows = good()
    assert check(rows) == []

    add(rows, of(rows, "begin"), t=10.65)
    add(rows, of(rows, "receive"), t=10.72)
    of(rows, "final")["deliveries"][0]["unclear"] = 1
    erased(rows)
    assert check(rows) == []


@pytest.mark.parametrize(
    ("invariant", "mutate"),
    [(name, mutate) for name, mutations in MUTATIONS.items() for mutate in mutations],
    ids=lambda value: value if isinstance(value, str) else value.__name__.strip("_"),
)
def test_a_broken_promise_is_found(invariant: str, mutate: Callable[[Rows], None]) -> None:
    """Each invariant is broken in every way that it knows, and the checker names it."""
    rows = good()

    mutate(rows)

    assert invariant in {each.invariant for each in check(rows)}


def test_every_invariant_is_broken_by_a_test() -> None:
    """None of the checks is there for show."""
    assert MUTATIONS.keys() == CHECKS.keys() == {f"I{number}" for number in range(1, 15)}


def test_a_history_without_an_end_says_nothing() -> None:
    """A run that was cut off is no good news."""
    with pytest.raises(ValueError, match="no end"):
        check(good()[:-1])


def test_a_file_is_checked_by_a_command(tmp_path: Path) -> None:
    """The exit code tells, and the text says which promise and where."""
    path = tmp_path / "history.jsonl"
    broken = good()
    MUTATIONS["I13"][0](broken)
    path.write_text("\n".join(json.dumps(row) for row in broken), "utf-8")

    command = (sys.executable, "-m", "tests.faults.checker", str(path))
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "I13 broken" in done.stdout
    assert "t0ann" in done.stdout


def test_processes_write_one_file(tmp_path: Path) -> None:
    """Lines are whole, in the order of their times, and say who wrote them."""
    writers = [History(tmp_path / "h", name) for name in ("one", "two")]
    for number in range(20):
        writers[number % 2].write("sample", held={"n": number})
    for writer in writers:
        writer.close()

    rows = read_history(tmp_path / "h")
    assert [row["held"]["n"] for row in rows] == list(range(20))
    assert {row["by"] for row in rows} == {"one", "two"}
