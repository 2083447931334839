"""A person is handed everything that an erasure would remove, nothing of anybody else, and is told what is left out."""

import json
import stat
import zipfile
from pathlib import Path

from hub.app.erasure import personal_stores
from hub.app.export import NOT_TOLD, TOLD, personal_records
from hub.bus.keys import Keys
from hub.erasure.person import Person, Principal
from hub.events import FeedbackEvent
from hub.export.archive import Archive
from hub.settings import PROJECT_ROOT
from tests.hub.erasure.world import ANA, BEN, BOT, GROUP, MAILBOX, World
from tests.hub.export.writing import written


async def _lived(world: World) -> Person:
    await world.live_through(ANA)
    await world.live_through(BEN)
    named = (
        Principal(connector="telegram", account=BOT, person=ANA.number),
        Principal(connector="email", account=MAILBOX, person=ANA.mail),
    )
    return await world.eraser().find(*named)


async def test_an_archive_of_a_person_holds_theirs_and_nobody_elses(world: World, tmp_path: Path) -> None:
    """Conversations, facts, links, judgements, what waits and the log; readable by its owner alone."""
    file = tmp_path / "ana.zip"
    person = await _lived(world)
    for who in (ANA, BEN):
        await world.client.hset(Keys().style(f"telegram-{BOT}-{who.number}"), "tone", f"as {who.word}")

    manifest = await written(world, file, person)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with zipfile.ZipFile(file) as archive:
        content = {name: archive.read(name).decode() for name in archive.namelist()}
    assert BEN.word not in json.dumps(content)
    # Nothing of the scene is chosen for a conversation, asked of a model or written to the log of answers.
    empty = {kind for kind, rows in manifest.rows.items() if not rows}
    assert empty <= {"receipts", "settings", "summaries"}
    by_number = {"judgements", "identities", "archived_feedback", "events"}
    for kind in manifest.rows.keys() - empty - by_number:
        assert ANA.word.lower() in content[f"{kind}.jsonl"].lower(), kind
    groups = [row for row in map(json.loads, content["conversations.jsonl"].splitlines()) if row["who"]]
    assert {row["conversation"] for row in groups} == {f"telegram-{BOT}-{GROUP}"}


async def test_an_archive_of_a_person_holds_what_channels_keep_and_what_is_for_them_alone(
    world: World, tmp_path: Path
) -> None:
    """The text of files they sent, mails and replies on their way, albums, votes, and their own documents."""
    person = await _lived(world)
    file = tmp_path / "ana.zip"

    await written(world, file, person)

    with Archive(file) as archive:
        rows = {kind: list(archive.rows(kind)) for kind in archive.kinds}
    [document] = rows["documents"]
    assert (document["title"], document["text"]) == (ANA.word, f"All about {ANA.word}.")
    sent = [row["value"] for row in rows["web"] if row["name"].startswith("file:")]
    assert [one["attachment"]["text"] for one in sent] == [ANA.word]
    votes = [row["value"] for row in rows["telegram"] if row["name"].startswith("votes:")]
    assert {ANA.number} == {who for vote in votes for who in vote}
    [pieces] = [row["values"] for row in rows["telegram"] if row["name"].endswith(":pieces")]
    assert pieces[0]["message"]["text"] == f"album {ANA.word}"
    assert any("Unsent" in row["message"]["text"] for row in rows["replies"])


async def test_what_others_think_of_an_answer_in_a_group_is_theirs(world: World, tmp_path: Path) -> None:
    """Of the facts about turns a person gets their own, although an erasure takes both."""
    person = await _lived(world)
    turn = min(person.turns)
    for who in (ANA, BEN):
        said = FeedbackEvent(
            turn=turn,
            conversation=f"telegram-{BOT}-{GROUP}",
            connector="telegram",
            person=who.number,
            value="up",
        )
        await world.client.xadd(Keys().events, said.fields())

    await written(world, tmp_path / "ana.zip", person)

    with Archive(tmp_path / "ana.zip") as archive:
        told = [row["person"] for row in archive.rows("events") if row["kind"] == "feedback"]
    assert ANA.number in told
    assert BEN.number not in told


def test_every_store_that_is_erased_is_handed_out_or_named_as_left_out(world: World) -> None:
    """A store that comes later has to be put into one of the tables; the documentation tells of both."""
    stores = [store.name for store in personal_stores(world.settings, world.bus)]
    files = [records.name for records in personal_records(world.settings, world.bus)]
    document = (PROJECT_ROOT / "docs" / "privacy.md").read_text("utf-8")

    assert sorted(stores) == sorted([*TOLD, *NOT_TOLD])
    assert sorted(files) == sorted(name for names in TOLD.values() for name in names)
    assert [name for name in files if f"`{name}`" not in document] == []
    assert [why for why in NOT_TOLD.values() if why not in " ".join(document.split())] == []
