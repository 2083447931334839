"""Every command, its arguments and its help; the work is done elsewhere."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from hub.cli.groups import groups
from hub.cli.options import AUDIENCES, AsJson, Data, begin

app = typer.Typer(
    name="hubbub",
    help="One assistant, every channel, on your own machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for name, group in groups.items():
    app.add_typer(group, name=name)


@app.command()
def up(
    data: Data = None,
    port: Annotated[int | None, typer.Option(help="HTTP port; the setting `api.port` otherwise.")] = None,
    host: Annotated[str | None, typer.Option(help="HTTP address; `api.host` otherwise.")] = None,
) -> None:
    """Start everything: Redis, the page, the channels and the engine."""
    from hub.cli.run import start_everything  # noqa: PLC0415

    start_everything(begin(data), port=port, host=host)


@app.command()
def run(
    roles: Annotated[list[str], typer.Argument(help="api, web, telegram, email, engine")],
    data: Data = None,
    attached: Annotated[bool, typer.Option(hidden=True, help="Stop when standard input ends.")] = False,
) -> None:
    """Run some roles in this process, against the Redis of the settings."""
    from hub.cli.run import run_some  # noqa: PLC0415

    run_some(begin(data), roles, attached=attached)


@app.command()
def ask(question: str, data: Data = None, as_json: AsJson = False) -> None:
    """Ask one question to a running hub and print the answer with its sources."""
    from hub.cli.talk import ask_once  # noqa: PLC0415

    ask_once(begin(data, quiet=True), question, as_json=as_json)


@app.command()
def chat(
    data: Data = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="A question on each line in, an answer as JSON on each line out.")
    ] = False,
) -> None:
    """Talk to a running hub."""
    from hub.cli.talk import chat_until_end, chat_with_program  # noqa: PLC0415

    settings = begin(data, quiet=True)
    if as_json:
        chat_with_program(settings)
    else:
        chat_until_end(settings)


@app.command()
def ingest(
    paths: Annotated[
        list[str] | None, typer.Argument(help="Files, folders, and web pages by their http(s) addresses.")
    ] = None,
    urls: Annotated[
        list[Path] | None, typer.Option(help="File with the address of a web page on each line.", exists=True)
    ] = None,
    mbox: Annotated[
        list[Path] | None, typer.Option(help="Mailbox file; each mail is a document.", exists=True)
    ] = None,
    git: Annotated[list[str] | None, typer.Option(help="Git repository, by path or http(s) address.")] = None,
    collection: Annotated[str, typer.Option(help="What the documents are filed under.")] = "documents",
    audience: Annotated[
        str | None,
        typer.Option(help=f"Who may read a new collection: {AUDIENCES}."),
    ] = None,
    code: Annotated[bool, typer.Option("--code", help="Take in source code in folders, too.")] = False,
    emptied: Annotated[
        bool, typer.Option("--emptied", help="Remove also what was in a folder or source that is empty now.")
    ] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Add documents to the knowledge base, whether the hub is running or not."""
    from hub.cli.documents import Wanted, ingest_documents  # noqa: PLC0415

    wanted = Wanted(
        paths=paths or (),
        page_lists=urls or (),
        mailboxes=mbox or (),
        repositories=git or (),
        collection=collection,
        audience=audience,
        code=code,
        may_empty=emptied,
    )
    ingest_documents(begin(data, quiet=True), wanted, as_json=as_json)


@app.command()
def search(
    query: str,
    k: Annotated[int, typer.Option("-k", min=1, max=50, help="Passages to show.")] = 5,
    audience: Annotated[
        str, typer.Option(help=f"Look as somebody of this audience: {AUDIENCES}.")
    ] = "operator",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show the passages nearest to a question."""
    from hub.cli.documents import search_passages  # noqa: PLC0415

    search_passages(begin(data, quiet=True), query, k, audience=audience, as_json=as_json)


@app.command("eval")
def evaluate(
    file: Annotated[
        Path, typer.Argument(help='Lines such as {"question": "...", "relevant": ["file.md#Heading"]}.')
    ],
    page: Annotated[Path | None, typer.Option("--html", help="Write the report as a page.")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Measure how well the documents are found, by labelled questions."""
    from hub.cli.evaluation import evaluate_retrieval  # noqa: PLC0415

    evaluate_retrieval(begin(data, quiet=True), file, page=page, as_json=as_json)


@app.command()
def warm(
    file: Annotated[Path, typer.Argument(help="A query on each line.")],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Let a running hub search for these queries, so that they are in its cache."""
    from hub.cli.warm import warm_cache  # noqa: PLC0415

    warm_cache(begin(data, quiet=True), file, as_json=as_json)


@app.command()
def cancel(
    conversation: Annotated[str, typer.Argument(help="As the log names it, such as web-hub-1a2b.")],
    turn: Annotated[str, typer.Argument(help="One turn of it; all that wait or run otherwise.")] = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Stop what a conversation waits for, as if it had not been asked."""
    from hub.cli.cancel import cancel_turns  # noqa: PLC0415

    cancel_turns(begin(data, quiet=True), conversation, turn, as_json=as_json)


@app.command()
def gaps(
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV for a spreadsheet.")] = False,
    look_up: Annotated[
        bool, typer.Option("--look-up", help="Ask `gaps.retrieval_url` for proposals first.")
    ] = False,
    dismiss: Annotated[int, typer.Option(help="Remove the gap of this id first.")] = 0,
    most: Annotated[int, typer.Option("-n", min=1, help="Gaps to show.")] = 50,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show the questions that the documents could not answer, those asked most often first."""
    from hub.cli.gaps import show_gaps  # noqa: PLC0415

    form: Literal["table", "json", "csv"] = "json" if as_json else "csv" if as_csv else "table"
    show_gaps(begin(data, quiet=True), form=form, most=most, look_up=look_up, dismiss=dismiss)


@app.command()
def doctor(data: Data = None, as_json: AsJson = False) -> None:
    """Check settings, Redis, models, channels and disk, and say what to do."""
    from hub.cli.doctor import examine, show_broken_settings  # noqa: PLC0415
    from hub.errors import HubError  # noqa: PLC0415

    try:
        settings = begin(data, quiet=True)
    except HubError as error:
        show_broken_settings(error, as_json=as_json)
    else:
        examine(settings, as_json=as_json)


@app.command()
def egress(data: Data = None, as_json: AsJson = False) -> None:
    """Show what may be connected to, and where the hub's processes have connected to or tried to."""
    from hub.cli.egress import show_egress  # noqa: PLC0415

    show_egress(begin(data, quiet=True), as_json=as_json)


@app.command()
def erase(
    identities: Annotated[
        list[str] | None,
        typer.Argument(metavar="CONNECTOR/ACCOUNT/PERSON...", help="Who, such as telegram/123456789/42."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what was not finished.")] = False,
    verify: Annotated[
        Path | None, typer.Option(help="Check a receipt that --json printed.", exists=True)
    ] = None,
    look: Annotated[
        list[str] | None, typer.Option("--look-for", help="Tell where a word still stands; removes nothing.")
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Remove a person everywhere, with all that is linked to them, and print a signed receipt."""
    from hub.cli.erase import erase_person, look_for, resume_erasures, verify_receipt  # noqa: PLC0415

    settings = begin(data, quiet=True)
    if verify is not None:
        verify_receipt(settings, verify, as_json=as_json)
    elif look:
        look_for(settings, look, as_json=as_json)
    elif resume:
        resume_erasures(settings, as_json=as_json)
    elif identities:
        erase_person(settings, identities, yes=yes, as_json=as_json)
    else:
        raise typer.BadParameter("name somebody, or give --resume, --verify or --look-for")


@app.command()
def backup(
    target: Annotated[
        str, typer.Argument(metavar="FILE|FOLDER|-", help="Where to; - writes into a pipe.")
    ] = ".",
    check: Annotated[
        bool, typer.Option("--verify", help="Tell whether FILE is whole; writes nothing.")
    ] = False,
    with_models: Annotated[bool, typer.Option("--with-models", help="Take fetched models along.")] = False,
    longest_pause: Annotated[
        float, typer.Option(min=0.1, max=600, metavar="SECONDS", help="How long Redis' writers may wait.")
    ] = 4.0,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Write everything the hub keeps into one file, whether it runs or not."""
    from hub.app.backup import BackupOptions  # noqa: PLC0415
    from hub.cli.backup import verify_backup, write_backup  # noqa: PLC0415

    settings = begin(data, quiet=True)
    if check:
        verify_backup(target, as_json=as_json)
    else:
        options = BackupOptions(with_models=with_models, longest_pause_s=longest_pause)
        write_backup(settings, target, options, as_json=as_json)


@app.command()
def restore(
    source: Annotated[str, typer.Argument(metavar="FILE|-", help="A backup; - reads it from a pipe.")],
    force: Annotated[bool, typer.Option("--force", help="Remove the hub that is there.")] = False,
    erased: Annotated[
        list[Path] | None,
        typer.Option(help="An erased.jsonl from elsewhere: who stands there is erased again.", exists=True),
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Put a backup into the data folder, the database and the Redis of a hub that does not run."""
    from hub.cli.backup import restore_backup  # noqa: PLC0415

    settings = begin(data, quiet=True)
    restore_backup(settings, source, force=force, erased_lists=erased or (), as_json=as_json)


@app.command("export")
def export_(
    file: Annotated[Path, typer.Argument(help="The zip to write.")],
    person: Annotated[
        list[str] | None,
        typer.Option(metavar="CONNECTOR/ACCOUNT/PERSON", help="Whose data; everything otherwise."),
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Write a person's data, or everything, as a zip of JSON."""
    from hub.cli.export import export_to  # noqa: PLC0415

    export_to(begin(data, quiet=True), file, person or (), as_json=as_json)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="An archive, log.jsonl, keys or models.json.", exists=True)],
    kind: Annotated[
        str, typer.Option(help="archive, log, keys or models; told by the content otherwise.")
    ] = "",
    conversation: Annotated[
        str, typer.Option(help="Where the turns of a log go, such as web-hub-1a2b; one of its own otherwise.")
    ] = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Take an archive of a hub, or what earlier systems have left; what is there already stays."""
    from hub.cli.export import KINDS, import_from  # noqa: PLC0415

    if kind and kind not in KINDS:
        raise typer.BadParameter(f"expected one of {', '.join(KINDS)}", param_hint="--kind")
    import_from(
        begin(data, quiet=True), file, kind=KINDS.get(kind), conversation=conversation, as_json=as_json
    )


@app.command()
def replay(
    turn: Annotated[str, typer.Argument(help="As the log names it, such as 1764449056123-0.")],
    conversation: Annotated[
        str, typer.Option(help="Where it stands; all are looked through otherwise.")
    ] = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Ask a model again what it was asked for one turn, and tell whether it says the same."""
    from hub.cli.replay import replay_turn  # noqa: PLC0415

    replay_turn(begin(data, quiet=True), turn, conversation, as_json=as_json)


@app.command()
def shadow(
    model: Annotated[str, typer.Option(help="The model that answers, a name of the registry.")],
    last: Annotated[int, typer.Option(min=1, max=10_000, help="How many of the latest turns.")] = 50,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show what another model would have answered to the latest turns; nobody is written to."""
    from hub.cli.replay import shadow_turns  # noqa: PLC0415

    shadow_turns(begin(data, quiet=True), model, last, as_json=as_json)
