"""What is answered without memory, documents or a model: commands, small talk, a message without words."""

from dataclasses import replace

from engine import replies
from engine.answers import Answer, Recollection, TurnStats
from engine.attachments import shown_name, told_of_files
from engine.memory.telling import memory_command, style_command
from engine.questions import without_quoted_lines
from hub.commands import argument_of, command_of
from hub.errors import UnknownModel
from hub.messages import InboundMessage
from hub.model_registry import DEFAULT, ModelRegistry

MODEL = "model"
"""The preference that names the model of a conversation; empty: the default."""
_SHOWN_CHARS = 40
_MOST_SHOWN = 30


def fixed_answer(
    message: InboundMessage, recollection: Recollection, registry: ModelRegistry, stats: TurnStats
) -> Answer | None:
    """Answer what needs neither memory nor documents; None for anything else."""
    text = message.text.strip()
    if text.startswith("/"):
        stats.route = "command"
        return _command(text, recollection, registry, stats)
    if not any(char.isalnum() for char in without_quoted_lines(text)):
        stats.route = "command"
        names = ", ".join(shown_name(each) for each in message.attachments if not each.problem)
        read = replies.ATTACHMENT_READ.format(names=names) if names else ""
        said = " ".join(part for part in (read, told_of_files(message.attachments)) if part)
        return Answer(kind="notice", text=said or replies.NO_WORDS, stats=stats)
    if reply := replies.small_talk(text, recollection.facts):
        stats.route = "small_talk"
        return Answer(kind="answer", text=reply, stats=stats)
    return None


def chosen_model(recollection: Recollection, registry: ModelRegistry) -> str:
    """Return the name of the model that was chosen for a conversation, else of the default."""
    try:
        return registry.resolve(recollection.preferences.get(MODEL, ""))
    except UnknownModel:
        # It was taken away since; the conversation goes on with the one that answers everybody.
        return registry.resolve()


def _command(text: str, recollection: Recollection, registry: ModelRegistry, stats: TurnStats) -> Answer:
    notice = Answer(kind="notice", text="", stats=stats)
    match command_of(text):
        case "/new" | "/reset":
            return replace(notice, text=replies.FORGOTTEN, forget="conversation")
        case "/forget":
            return replace(notice, text=replies.FORGOTTEN_ALL, forget="person")
        case "/memory":
            return memory_command(argument_of(text), recollection, notice)
        case "/style":
            return style_command(argument_of(text), recollection, notice)
        case "/sources":
            return _sources(recollection, notice)
        case "/stop":
            return replace(notice, text=replies.STOPPED if recollection.stopped else replies.NOTHING_TO_STOP)
        case "/start":
            return replace(notice, text=replies.START)
        case "/help":
            return replace(notice, text=replies.HELP)
        case "/model":
            return _model(argument_of(text), recollection, registry, notice)
    return replace(notice, text=replies.UNKNOWN_COMMAND)


def _sources(recollection: Recollection, notice: Answer) -> Answer:
    """Show the sources of the last answer again."""
    last = next((turn for turn in reversed(recollection.turns) if turn.kind == "answer"), None)
    if last is None or not last.sources:
        return replace(notice, text=replies.NO_SOURCES)
    return replace(notice, text=replies.SOURCES, sources=last.sources)


def _model(wanted: str, recollection: Recollection, registry: ModelRegistry, notice: Answer) -> Answer:
    """Show the models, or choose one for the conversation."""
    shown = _list(registry, chosen_model(recollection, registry))
    if not wanted:
        return replace(notice, text=shown)
    known = {name.lower(): name for name in (*registry.names(), DEFAULT)}
    name = wanted if wanted in registry.names() else known.get(wanted.lower())
    if name is None:
        asked = "".join(char for char in wanted[:_SHOWN_CHARS] if char.isprintable() and char != "`")
        return replace(notice, text=f"{replies.NO_SUCH_MODEL.format(name=asked)}\n\n{shown}")
    try:
        model = registry.resolve(name)
    except UnknownModel:
        return replace(notice, text=f"{replies.NO_SUCH_MODEL.format(name=name)}\n\n{shown}")
    text = replies.MODEL_RESET if name == DEFAULT else replies.MODEL_CHOSEN
    preferences = {MODEL: "" if name == DEFAULT else name}
    return replace(notice, text=text.format(name=model), preferences=preferences)


def _list(registry: ModelRegistry, current: str) -> str:
    names = sorted(registry.models)
    lines = [
        f"- `{name}`" + (", which answers here now" if name == current else "")
        for name in names[:_MOST_SHOWN]
    ]
    if len(names) > _MOST_SHOWN:
        lines.append(f"- and {len(names) - _MOST_SHOWN} more")
    return replies.MODELS.format(models="\n".join(lines))
