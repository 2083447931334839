"""The commands of `operator`: their arguments and their help."""

from typing import Annotated

import typer

from hub.cli.options import AsJson, Data, begin

operator_app = typer.Typer(
    help="Operators: add, list, password, role, disable, enable, remove, rotate-keys.", no_args_is_help=True
)

OperatorName = Annotated[str, typer.Argument(help="What they sign in as.")]
ROLES_HELP = "viewer sees everything, operator changes documents and people, admin also operators and keys."


@operator_app.command("add")
def operator_add(
    name: OperatorName,
    role: Annotated[
        str, typer.Option(help=f"{ROLES_HELP} The first operator is an admin, others viewers.")
    ] = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make an operator; the password is asked for, or read from standard input."""
    from hub.cli.operators import add_operator  # noqa: PLC0415

    add_operator(begin(data, quiet=True), name, role, as_json=as_json)


@operator_app.command("list")
def operator_list(data: Data = None, as_json: AsJson = False) -> None:
    """List the operators."""
    from hub.cli.operators import list_operators  # noqa: PLC0415

    list_operators(begin(data, quiet=True), as_json=as_json)


@operator_app.command("password")
def operator_password(name: OperatorName, data: Data = None, as_json: AsJson = False) -> None:
    """Give an operator a new password, which is asked for or read from standard input; their sessions end."""
    from hub.cli.operators import set_password  # noqa: PLC0415

    set_password(begin(data, quiet=True), name, as_json=as_json)


@operator_app.command("role")
def operator_role(
    name: OperatorName,
    role: Annotated[str, typer.Argument(help=ROLES_HELP)],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Give an operator another role; their sessions end."""
    from hub.cli.operators import set_role  # noqa: PLC0415

    set_role(begin(data, quiet=True), name, role, as_json=as_json)


@operator_app.command("disable")
def operator_disable(name: OperatorName, data: Data = None, as_json: AsJson = False) -> None:
    """Shut an operator out at once."""
    from hub.cli.operators import set_disabled  # noqa: PLC0415

    set_disabled(begin(data, quiet=True), name, disabled=True, as_json=as_json)


@operator_app.command("enable")
def operator_enable(name: OperatorName, data: Data = None, as_json: AsJson = False) -> None:
    """Let an operator in again who was disabled."""
    from hub.cli.operators import set_disabled  # noqa: PLC0415

    set_disabled(begin(data, quiet=True), name, disabled=False, as_json=as_json)


@operator_app.command("remove")
def operator_remove(name: OperatorName, data: Data = None, as_json: AsJson = False) -> None:
    """Remove an operator with their sessions; what they did stays in the audit log."""
    from hub.cli.operators import remove_operator  # noqa: PLC0415

    remove_operator(begin(data, quiet=True), name, as_json=as_json)


@operator_app.command("rotate-keys")
def operator_rotate_keys(
    drop: Annotated[
        bool, typer.Option("--drop", help="Refuse at once what earlier keys have signed.")
    ] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Sign access tokens with a new key from now on."""
    from hub.cli.operators import rotate_keys  # noqa: PLC0415

    rotate_keys(begin(data, quiet=True), drop=drop, as_json=as_json)
