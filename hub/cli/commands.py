"""Every command, its arguments and its help; the work is done elsewhere."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from hub.cli.options import AUDIENCES, AsJson, Data, begin

app = typer.Typer(
    name="hubbub",
    help="One assistant, every channel, on your own machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
keys_app = typer.Typer(help="API keys: create, list, revoke.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")
index_app = typer.Typer(help="The search index: info, build, reset.", no_args_is_help=True)
app.add_typer(index_app, name="index")
collections_app = typer.Typer(
    help="Collections of documents: list, show, audience, remove.", no_args_is_help=True
)
app.add_typer(collections_app, name="collections")
models_app = typer.Typer(help="Models: list, fetch, verify, load, unload.", no_args_is_help=True)
app.add_typer(models_app, name="models")
archive_app = typer.Typer(help="What was said, as the database keeps it: rebuild.", no_args_is_help=True)
app.add_typer(archive_app, name="archive")


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
def chat(data: Data = None) -> None:
    """Talk to a running hub."""
    from hub.cli.talk import chat_until_end  # noqa: PLC0415

    chat_until_end(begin(data, quiet=True))


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
    from hub.cli.doctor import examine  # noqa: PLC0415

    examine(begin(data, quiet=True), as_json=as_json)


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
        verify_receipt(settings, verify)
    elif look:
        look_for(settings, look, as_json=as_json)
    elif resume:
        resume_erasures(settings, as_json=as_json)
    elif identities:
        erase_person(settings, identities, yes=yes, as_json=as_json)
    else:
        raise typer.BadParameter("name somebody, or give --resume, --verify or --look-for")


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


@keys_app.command("create")
def keys_create(
    tier: Annotated[str, typer.Option(help="A tier of the settings `keys.tiers`.")] = "free",
    label: Annotated[str, typer.Option(help="What the key is for.")] = "",
    days: Annotated[int | None, typer.Option(min=1, help="Days until it expires; never otherwise.")] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(help="What it may do beyond asking: models, admin. Repeat for several."),
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make a key; it is shown once."""
    from hub.cli.keys import create_key  # noqa: PLC0415

    settings = begin(data, quiet=True)
    create_key(settings, tier=tier, label=label, days=days, scopes=scope or (), as_json=as_json)


@keys_app.command("list")
def keys_list(data: Data = None, as_json: AsJson = False) -> None:
    """List all keys, without their secrets."""
    from hub.cli.keys import list_keys  # noqa: PLC0415

    list_keys(begin(data, quiet=True), as_json=as_json)


@keys_app.command("revoke")
def keys_revoke(key_id: str, data: Data = None) -> None:
    """End a key at once."""
    from hub.cli.keys import revoke_key  # noqa: PLC0415

    revoke_key(begin(data, quiet=True), key_id)


@index_app.command("info")
def index_info(data: Data = None, as_json: AsJson = False) -> None:
    """Tell how many documents can be searched, and by which index."""
    from hub.cli.index import show_index  # noqa: PLC0415

    show_index(begin(data, quiet=True), as_json=as_json)


@index_app.command("build")
def index_build(data: Data = None, as_json: AsJson = False) -> None:
    """Build the index anew from the database."""
    from hub.cli.index import build_index  # noqa: PLC0415

    build_index(begin(data, quiet=True), as_json=as_json)


@index_app.command("reset")
def index_reset(
    data: Data = None, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Remove every document that was added."""
    from hub.cli.index import reset_index  # noqa: PLC0415

    if not yes:
        typer.confirm("Remove all documents that were added from the knowledge base?", abort=True)
    reset_index(begin(data, quiet=True))


@collections_app.command("list")
def collections_list(data: Data = None, as_json: AsJson = False) -> None:
    """List the collections of documents, and who may read them."""
    from hub.cli.collections import list_collections  # noqa: PLC0415

    list_collections(begin(data, quiet=True), as_json=as_json)


@collections_app.command("show")
def collections_show(collection: str, data: Data = None, as_json: AsJson = False) -> None:
    """List the documents of a collection, one on each line."""
    from hub.cli.collections import list_documents  # noqa: PLC0415

    list_documents(begin(data, quiet=True), collection, as_json=as_json)


@collections_app.command("audience")
def collections_audience(
    collection: str,
    audience: Annotated[str, typer.Argument(help=AUDIENCES)],
    data: Data = None,
) -> None:
    """Change who may read a collection."""
    from hub.cli.collections import change_audience  # noqa: PLC0415

    change_audience(begin(data, quiet=True), collection, audience)


@collections_app.command("remove")
def collections_remove(
    collection: str,
    data: Data = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove a collection with all its documents."""
    from hub.cli.collections import remove_collection  # noqa: PLC0415

    if not yes:
        typer.confirm(f"Remove all documents of {collection} from the knowledge base?", abort=True)
    remove_collection(begin(data, quiet=True), collection)


@models_app.command("list")
def models_list(
    ollama: Annotated[bool, typer.Option("--ollama", help="Those of the Ollama server instead.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List the models of the registry, and what a running hub does with them."""
    from hub.cli.models import list_models, list_ollama  # noqa: PLC0415

    show = list_ollama if ollama else list_models
    show(begin(data, quiet=True), as_json=as_json)


@models_app.command("pull")
def models_pull(
    model: Annotated[str, typer.Argument(metavar="REPO[:FILE]", help="owner/name, and what of it.")],
    name: Annotated[str, typer.Option(help="Its name in the registry; the file's otherwise.")] = "",
    ollama: Annotated[bool, typer.Option("--ollama", help="Let the Ollama server pull it.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Fetch a model and put it into the registry; one that was interrupted goes on."""
    from hub.cli.models import pull_model  # noqa: PLC0415

    pull_model(begin(data, quiet=True), model, name=name, by_ollama=ollama, as_json=as_json)


@models_app.command("verify")
def models_verify(
    name: Annotated[str, typer.Argument(help="A model of the registry; all otherwise.")] = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Compare the files of models with their recorded sums."""
    from hub.cli.models import verify_models  # noqa: PLC0415

    verify_models(begin(data, quiet=True), name, as_json=as_json)


@models_app.command("load")
def models_load(name: str, data: Data = None, as_json: AsJson = False) -> None:
    """Let the running hub load a model."""
    from hub.cli.models import change_model  # noqa: PLC0415

    change_model(begin(data, quiet=True), "load", name, as_json=as_json)


@models_app.command("unload")
def models_unload(name: str, data: Data = None, as_json: AsJson = False) -> None:
    """Let the running hub unload a model once nobody uses it."""
    from hub.cli.models import change_model  # noqa: PLC0415

    change_model(begin(data, quiet=True), "unload", name, as_json=as_json)


@archive_app.command("rebuild")
def archive_rebuild(data: Data = None, as_json: AsJson = False) -> None:
    """Read everything into the archive again that Redis still holds; the hub may run meanwhile."""
    from hub.cli.archive import rebuild_archive  # noqa: PLC0415

    rebuild_archive(begin(data, quiet=True), as_json=as_json)
