"""The chat template of a model file as a template of ours: its pieces, and places for texts it never sees."""

import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from engine.models.base import ChatMessage, Role
from engine.models.jinja.meter import TemplateError, TemplateTooCostly
from engine.models.jinja.sandbox import Sandbox
from engine.models.templates import Insert, Piece

_STEPS = 2_000_000
_STEPS_PER_MESSAGE = 3_000
_CACHED_SHAPES = 256
_PRIVATE_USE = range(0xE000, 0xF900)
"""Characters without case or meaning, so that a template leaves them as they are."""
_EDGE = "\x1f"
"""White space that no template writes: where it is gone, the template trims its texts."""
_EDGE_PATTERN = r"(\x1f|\\u001f)?"

_PROBES: tuple[tuple[Role, ...], ...] = (("user",), ("system", "user"), ("user", "assistant", "user"))

Shape = tuple[tuple[Role, bool], ...]
"""Roles, and whether there is a text: all of the messages that a template is told."""


@dataclass(frozen=True, slots=True)
class _Turn:
    role: Role
    messages: tuple[int, ...]
    """Positions of the messages whose texts it holds."""


class JinjaTemplate:
    """Renders a template with unguessable marks instead of the texts, once for each shape of a conversation.

    What a person writes can so neither become a special token nor be read by the template. Templates that refuse a
    system message, or roles that do not alternate, get the texts in messages they take.
    """

    def __init__(self, source: str, *, bos: str, eos: str) -> None:
        """Compile a template and try it.

        Raises: TemplateError: it cannot be read, holds no question, or does more than it may.
        """
        self._source = source
        self._variables = {"bos_token": bos, "eos_token": eos, "tools": None, "documents": None}
        self._marks = _Marks(source)
        self._sandbox = Sandbox()
        self._template = self._sandbox.compile_bounded(source)
        self._known: OrderedDict[object, tuple[Piece, ...]] = OrderedDict()
        self._refusal: TemplateTooCostly | None = None
        self._lock = threading.Lock()
        for roles in _PROBES:
            self.pieces([ChatMessage(role=role, text="text") for role in roles])

    def pieces(self, messages: Sequence[ChatMessage]) -> tuple[Piece, ...]:
        """Return what stands between and around the texts."""
        shape = tuple((message.role, bool(message.text.strip())) for message in messages)
        key = (shape, date.today() if "strftime_now" in self._source else None)
        with self._lock:
            if (known := self._known.get(key)) is None:
                known = self._known[key] = self._arranged(shape)
            self._known.move_to_end(key)
            while len(self._known) > _CACHED_SHAPES:
                self._known.popitem(last=False)
        return known

    def _arranged(self, shape: Shape) -> tuple[Piece, ...]:
        """Render the first arrangement of the messages that the template takes whole."""
        problem = TemplateError("the chat template leaves out the last message")
        second_best: tuple[Piece, ...] | None = None
        for turns in _arrangements(shape):
            try:
                pieces = self._rendered(turns, shape)
            except TemplateTooCostly:
                raise
            except TemplateError as error:
                problem = error
                continue
            left_out = {position for position, (_, has_text) in enumerate(shape) if has_text}
            left_out -= {piece.message for piece in pieces if isinstance(piece, Insert)}
            if not left_out:
                return pieces
            if second_best is None and len(shape) - 1 not in left_out:
                second_best = pieces
        if second_best is None:
            raise problem
        return second_best

    def _rendered(self, turns: Sequence[_Turn], shape: Shape) -> tuple[Piece, ...]:
        if self._refusal is not None:
            raise self._refusal
        messages = [
            {
                "role": turn.role,
                "content": "\n\n".join(self._marks.mark(one) for one in turn.messages if shape[one][1]),
            }
            for turn in turns
        ]
        variables = {**self._variables, "messages": messages, "add_generation_prompt": True}
        try:
            steps = _STEPS + _STEPS_PER_MESSAGE * len(shape)
            text = self._sandbox.render(self._template, steps, variables)
        except TemplateTooCostly as error:
            self._refusal = error
            raise
        return self._marks.split(text)


class _Marks:
    """Stand for texts while a template is rendered."""

    def __init__(self, source: str) -> None:
        free = [character for character in map(chr, _PRIVATE_USE) if character not in source]
        self._secret = "".join(secrets.choice(free) for _ in range(12))
        self._free = free
        self._pattern = re.compile(f"{_EDGE_PATTERN}{self._secret}(..){_EDGE_PATTERN}")

    def mark(self, message: int) -> str:
        """Return what stands for a message's text."""
        high, low = divmod(message, len(self._free))
        return f"{_EDGE}{self._secret}{self._free[high]}{self._free[low]}{_EDGE}"

    def split(self, text: str) -> tuple[Piece, ...]:
        """Find the texts' places in what was rendered.

        Raises: TemplateError: a mark was taken apart, so a text would have been.
        """
        pieces: list[Piece] = []
        end = 0
        for found in self._pattern.finditer(text):
            pieces.append(text[end : found.start()])
            high, low = map(self._free.index, found[2])
            pieces.append(
                Insert(message=high * len(self._free) + low, trims_start=not found[1], trims_end=not found[3])
            )
            end = found.end()
        pieces.append(text[end:])
        traces = {_EDGE, *self._secret}
        if any(isinstance(piece, str) and traces.intersection(piece) for piece in pieces):
            raise TemplateError("the chat template takes texts apart")
        return tuple(piece for piece in pieces if piece)


def _arrangements(shape: Shape) -> list[list[_Turn]]:
    """Return ways to put the messages, the most faithful first."""
    plain = [_Turn(role, (position,)) for position, (role, _) in enumerate(shape)]
    folded = _merged(_without_system(plain))
    if folded and folded[0].role == "assistant":
        folded.insert(0, _Turn("user", ()))
    return [plain, _merged(plain), folded]


def _merged(turns: Sequence[_Turn]) -> list[_Turn]:
    """Join neighbours of one role."""
    merged: list[_Turn] = []
    for turn in turns:
        if merged and merged[-1].role == turn.role:
            merged[-1] = _Turn(turn.role, merged[-1].messages + turn.messages)
        else:
            merged.append(turn)
    return merged


def _without_system(turns: Sequence[_Turn]) -> list[_Turn]:
    """Put system texts before the text of the user's next message."""
    folded: list[_Turn] = []
    waiting: tuple[int, ...] = ()
    for turn in turns:
        if turn.role == "system":
            waiting += turn.messages
        elif turn.role == "user":
            folded.append(_Turn("user", waiting + turn.messages))
            waiting = ()
        else:
            folded.append(turn)
    return [*folded, _Turn("user", waiting)] if waiting else folded
