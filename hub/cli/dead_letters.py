"""The commands of `dead`: their arguments and their help."""

from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli.options import AsJson, Data, begin

if TYPE_CHECKING:
    from hub.bus.dead import Wanted

dead_app = typer.Typer(help="Messages that were given up: list, show, replay, drop.", no_args_is_help=True)

Letters = Annotated[
    list[str] | None, typer.Argument(metavar="ID...", help="As `hubbub dead list` shows them.")
]
Connector = Annotated[str, typer.Option(help="Only of this channel, such as telegram.")]
Conversation = Annotated[str, typer.Option(help="Only of this conversation, such as web-hub-1a2b.")]
Reason = Annotated[str, typer.Option(help="Only where the reason holds these words.")]
Since = Annotated[str, typer.Option(help="Only from this time on: 2026-01-31T12:00 in UTC, or 24h ago.")]
Until = Annotated[str, typer.Option(help="Only before this time.")]
All = Annotated[bool, typer.Option("--all", help="All of them.")]


def _wanted(connector: str, conversation: str, reason: str, since: str, until: str) -> "Wanted":
    from hub.bus.dead import Wanted  # noqa: PLC0415
    from hub.cli.times import read_time  # noqa: PLC0415

    return Wanted(
        connector=connector,
        conversation=conversation,
        reason=reason,
        since=read_time(since),
        until=read_time(until),
    )


def _chosen(letters: list[str] | None, filters: tuple[str, ...], *, every: bool) -> "Wanted | None":
    """Return which are wanted; None where they are named."""
    if bool(letters) + any(filters) + every != 1:
        raise typer.BadParameter("name dead letters, or say which by an option, or give --all")
    return None if letters else _wanted(*filters)


@dead_app.command("list")
def dead_list(
    connector: Connector = "",
    conversation: Conversation = "",
    reason: Reason = "",
    since: Since = "",
    until: Until = "",
    most: Annotated[int, typer.Option("-n", min=1, max=10_000, help="How many.")] = 50,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List the latest, without what was said in them."""
    from hub.cli.dead import list_letters  # noqa: PLC0415

    wanted = _wanted(connector, conversation, reason, since, until)
    list_letters(begin(data, quiet=True), wanted, most=most, as_json=as_json)


@dead_app.command("show")
def dead_show(
    letter: Annotated[str, typer.Argument(metavar="ID")],
    with_text: Annotated[bool, typer.Option("--text", help="Show what was said, too.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show why one was given up."""
    from hub.cli.dead import show_letter  # noqa: PLC0415

    show_letter(begin(data, quiet=True), letter, with_text=with_text, as_json=as_json)


@dead_app.command("replay")
def dead_replay(
    letters: Letters = None,
    connector: Connector = "",
    conversation: Conversation = "",
    reason: Reason = "",
    since: Since = "",
    until: Until = "",
    every: All = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Put messages back at the end of their conversations, once; they are answered as if they had come now."""
    from hub.cli.dead import replay_letters  # noqa: PLC0415

    wanted = _chosen(letters, (connector, conversation, reason, since, until), every=every)
    replay_letters(begin(data, quiet=True), letters or (), wanted, as_json=as_json)


@dead_app.command("drop")
def dead_drop(
    letters: Letters = None,
    connector: Connector = "",
    conversation: Conversation = "",
    reason: Reason = "",
    since: Since = "",
    until: Until = "",
    every: All = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Remove messages for good; their senders were told when they were given up."""
    from hub.cli.dead import drop_letters  # noqa: PLC0415

    wanted = _chosen(letters, (connector, conversation, reason, since, until), every=every)
    if not yes:
        typer.confirm("Remove these messages for good?", abort=True)
    drop_letters(begin(data, quiet=True), letters or (), wanted, as_json=as_json)
