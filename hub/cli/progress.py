"""Shows on a terminal that a command is at work; on standard error, so that what it prints stays alone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from hub.cli.screen import one_line


@contextmanager
def working(text: str, *, hidden: bool) -> Iterator[Callable[[str], None]]:
    """Show what is being done until the end of the block; gives what tells of the next step.

    Args:
        hidden: show nothing, as for a machine; nothing is shown either where standard error is no terminal.
    """
    console = Console(stderr=True)
    if hidden or not console.is_terminal:
        yield lambda _: None
        return
    with console.status(one_line(text)) as status:
        yield lambda news: status.update(one_line(news))
