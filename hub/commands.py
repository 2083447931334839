"""Commands that people type on any channel: `/stop`, in a group of Telegram also `/stop@my_bot`."""


def command_of(text: str) -> str:
    """Return the command a message begins with, in lower case and without the bot's name; empty when there is none."""
    words = text.split(maxsplit=1)
    return words[0].partition("@")[0].lower() if words and words[0].startswith("/") else ""


def argument_of(text: str) -> str:
    """Return what stands behind a command."""
    return text.strip().partition(" ")[2].strip()


def is_stop(text: str) -> bool:
    """Tell whether a message cancels what was asked before it."""
    return command_of(text) == "/stop"
