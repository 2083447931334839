"""Commands that have commands of their own: keys, operators, the index, collections, models, the archive, dead letters."""

from typing import Annotated

import typer

from hub.cli.dead_letters import dead_app
from hub.cli.operator_commands import operator_app
from hub.cli.options import AUDIENCES, AsJson, Data, begin

keys_app = typer.Typer(help="API keys: create, list, rotate, revoke, usage.", no_args_is_help=True)
index_app = typer.Typer(help="The search index: info, build, reset.", no_args_is_help=True)
collections_app = typer.Typer(
    help="Collections of documents: list, show, audience, remove.", no_args_is_help=True
)
models_app = typer.Typer(help="Models: list, fetch, verify, load, unload.", no_args_is_help=True)
archive_app = typer.Typer(help="What was said, as the database keeps it: rebuild.", no_args_is_help=True)

groups = {
    "keys": keys_app,
    "operator": operator_app,
    "index": index_app,
    "collections": collections_app,
    "models": models_app,
    "archive": archive_app,
    "dead": dead_app,
}


@keys_app.command("create")
def keys_create(
    tier: Annotated[str, typer.Option(help="A tier of the settings `keys.tiers`.")] = "free",
    label: Annotated[str, typer.Option(help="What the key is for.")] = "",
    days: Annotated[int | None, typer.Option(min=1, help="Days until it expires; never otherwise.")] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(help="What it may do beyond asking: models, admin. Repeat for several."),
    ] = None,
    network: Annotated[
        list[str] | None,
        typer.Option(
            help="Where it may be used, such as 10.0.0.0/8; everywhere otherwise. Repeat for several."
        ),
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make a key; it is shown once."""
    from hub.cli.keys import create_key  # noqa: PLC0415

    create_key(
        begin(data, quiet=True),
        tier=tier,
        label=label,
        days=days,
        scopes=scope or (),
        networks=network or (),
        as_json=as_json,
    )


@keys_app.command("list")
def keys_list(data: Data = None, as_json: AsJson = False) -> None:
    """List all keys, without their secrets."""
    from hub.cli.keys import list_keys  # noqa: PLC0415

    list_keys(begin(data, quiet=True), as_json=as_json)


@keys_app.command("rotate")
def keys_rotate(
    key_id: str,
    overlap: Annotated[
        str, typer.Option(help="How long the old secret works as well, such as 30m, 24h or 7d; 0 ends it.")
    ] = "24h",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Give a key a new secret; it is shown once."""
    from hub.cli.keys import rotate_key  # noqa: PLC0415

    rotate_key(begin(data, quiet=True), key_id, overlap=overlap, as_json=as_json)


@keys_app.command("revoke")
def keys_revoke(key_id: str, data: Data = None, as_json: AsJson = False) -> None:
    """End a key at once."""
    from hub.cli.keys import revoke_key  # noqa: PLC0415

    revoke_key(begin(data, quiet=True), key_id, as_json=as_json)


@keys_app.command("usage")
def keys_usage(
    key_id: str,
    days: Annotated[int, typer.Option(min=1, max=3660, help="The latest days, today among them.")] = 30,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show what was asked with a key, by day and model."""
    from hub.cli.keys import show_usage  # noqa: PLC0415

    show_usage(begin(data, quiet=True), key_id, days=days, as_json=as_json)


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
    data: Data = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove every document that was added."""
    from hub.cli.index import reset_index  # noqa: PLC0415

    if not yes:
        typer.confirm("Remove all documents that were added from the knowledge base?", abort=True)
    reset_index(begin(data, quiet=True), as_json=as_json)


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
    as_json: AsJson = False,
) -> None:
    """Change who may read a collection."""
    from hub.cli.collections import change_audience  # noqa: PLC0415

    change_audience(begin(data, quiet=True), collection, audience, as_json=as_json)


@collections_app.command("remove")
def collections_remove(
    collection: str,
    data: Data = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove a collection with all its documents."""
    from hub.cli.collections import remove_collection  # noqa: PLC0415

    if not yes:
        typer.confirm(f"Remove all documents of {collection} from the knowledge base?", abort=True)
    remove_collection(begin(data, quiet=True), collection, as_json=as_json)


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
