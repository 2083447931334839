"""`replay` and `shadow`: what a model was asked is asked again, of the same model or of another; nobody notices."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from hub.app.engine import open_models
from hub.bus.bus import Bus
from hub.cli.database import opened_bus
from hub.cli.printing import print_json
from hub.errors import HubError
from hub.settings import Settings

if TYPE_CHECKING:
    from engine.models.manager import ModelManager
    from engine.receipts import AnswerReceipt
    from engine.replay import Replay, Replayed, Shadowed


@contextlib.asynccontextmanager
async def _opened(settings: Settings) -> "AsyncIterator[tuple[Bus, ModelManager, Replay]]":
    from engine.replay import Replay  # noqa: PLC0415

    async with contextlib.AsyncExitStack() as opened:
        bus = await opened.enter_async_context(opened_bus(settings))
        models = open_models(settings, opened)
        replay = Replay(
            models, models.registry, bus.history, max_answer_tokens=settings.engine.max_answer_tokens
        )
        yield bus, models, replay


def replay_turn(settings: Settings, turn: str, conversation: str, *, as_json: bool) -> None:
    """Make the requests of a turn again and print whether the bytes are the same.

    Raises: HubError: its receipt is not kept, a prompt cannot be built any more, or something differs.
    """

    async def main() -> "tuple[AnswerReceipt, list[Replayed]]":
        from engine.receipts import ReceiptBook  # noqa: PLC0415

        async with _opened(settings) as (bus, models, replay):
            receipt = await ReceiptBook(bus.redis, shards=settings.bus.shards).of(turn, conversation)
            if receipt is None:
                raise HubError(
                    f"there is no receipt of turn {turn}: the latest {settings.engine.receipts} answers of each "
                    "conversation have one (engine.receipts)"
                )
            for name in {asked.model for asked in receipt.asked}:
                with contextlib.suppress(HubError):
                    replay.identities[name] = await models.identity_of(name)
            return receipt, await replay.replay(receipt)

    receipt, requests = asyncio.run(main())
    if as_json:
        answer = {
            "turn": receipt.turn,
            "conversation": receipt.conversation,
            "versions": receipt.versions,
            "chunks": receipt.chunks,
            "facts": receipt.facts,
            "requests": [{**asdict(one), "prompt": one.prompt.model_dump()} for one in requests],
        }
        print_json(answer)
    else:
        for number, one in enumerate(requests, 1):
            _print_request(number, one)
    if any(one.differences for one in requests):
        raise HubError(f"turn {turn} is not the same any more")


def _print_request(number: int, one: "Replayed") -> None:
    tokens = f"{one.prompt.tokens} tokens" if one.prompt.of == "tokens" else "its text"
    typer.echo(f"request {number}: model {one.model}, prompt of {tokens}, {one.took_s:.2f} s")
    typer.echo(f"  prompt  {'the same' if one.is_same_prompt else 'differs'}")
    typer.echo(f"  answer  {'the same' if one.is_same_answer else 'differs'}")
    for difference in one.differences:
        typer.echo(f"  {difference}")


def shadow_turns(settings: Settings, model: str, last: int, *, as_json: bool) -> None:
    """Let another model answer what was asked last, and print both answers side by side.

    Raises: HubError: there is no such model, or nothing was asked yet.
    """

    async def main() -> "list[Shadowed]":
        from engine.receipts import ReceiptBook  # noqa: PLC0415

        async with _opened(settings) as (bus, models, replay):
            models.registry.resolve(model)
            receipts = await ReceiptBook(bus.redis, shards=settings.bus.shards).latest(last)
            if not receipts:
                raise HubError("no answer of a model is kept yet; engine.receipts says how many are")
            columns = (TextColumn(f"asking {model}"), BarColumn(), MofNCompleteColumn())
            found: list[Shadowed] = []
            with Progress(
                *columns, console=Console(stderr=True), transient=True, disable=as_json
            ) as progress:
                for receipt in progress.track(receipts):
                    found += await replay.shadow(receipt, model)
            return found

    found = asyncio.run(main())
    if as_json:
        for one in found:
            print_json({**asdict(one), "is_same": one.is_same})
        return
    _print_side_by_side(found, model)


def _print_side_by_side(found: "Sequence[Shadowed]", model: str) -> None:
    table = Table("question", "then", model, "s", show_lines=True)
    for one in found:
        now = f"failed: {one.error}" if one.error else "the same" if one.is_same else one.now
        # What people and models write is no markup of ours.
        table.add_row(*(_plain(part) for part in (one.question, one.then, now, f"{one.took_s:.1f}")))
    Console().print(table)
    same, failed = sum(one.is_same for one in found), sum(bool(one.error) for one in found)
    typer.echo(
        f"{len(found)} answers: {same} the same, {len(found) - same - failed} different, {failed} failed."
    )


def _plain(text: str) -> str:
    from rich.markup import escape  # noqa: PLC0415

    return escape("".join(char if char.isprintable() or char == "\n" else " " for char in text))
