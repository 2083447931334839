"""The list of erasures: whoever is on it stays on it."""

from pathlib import Path

import pytest

from hub.backup.erased import ErasureNotes, digests_in, read_file
from hub.erasure.person import Person

ANA, BEN = Person(marks=frozenset({"ana"})), Person(marks=frozenset({"ben"}))


async def _key() -> bytes:
    return b"k" * 32


@pytest.mark.parametrize("torn", [b'{"id":"half', b'{"id":"whole","at":"","who":["00"]}'])
async def test_half_a_line_does_not_swallow_the_next_one(tmp_path: Path, torn: bytes) -> None:
    """A power cut or a full disk leaves one; who is erased afterwards is noted all the same."""
    path = tmp_path / "erased.jsonl"
    await ErasureNotes(path, _key).erase(ANA)
    before = read_file(path)
    with path.open("ab") as file:
        file.write(torn)

    await ErasureNotes(path, _key).erase(BEN)

    found = read_file(path)
    assert before.items() <= found.items()
    assert len(digests_in(found.values()) - {"00"}) == 2
    assert ("whole" in found) == torn.endswith(b"}")
