"""Files of questions: queries that warm the cache, and labelled questions that retrieval is judged by."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
)

from hub.errors import KnowledgeError
from hub.text import normalise

MAX_QUERY_CHARS = 1_000
DEFAULT_K = 5
MAX_K = 20
"""As `GET /search` has them: a cache is only warm for what is asked by it."""

# Normalised as whatever comes in by a channel.
_Text = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_QUERY_CHARS),
    BeforeValidator(lambda given: normalise(given).strip() if isinstance(given, str) else given),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A search that will be asked."""

    text: str
    k: int = DEFAULT_K


class Target(BaseModel):
    """A place in the documents that answers a question."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Annotated[str, Field(min_length=1)]
    """Location of the document, or the end of it: `handbook/hours.md` and `hours.md` both name that file."""
    heading: str = ""
    """One of the headings that the passage stands under; empty: any passage of the document will do."""
    grade: Annotated[int, Field(ge=1, le=10)] = 1
    """How well it answers, against the other places of this question."""


class LabelledQuestion(BaseModel):
    """A question and the places that answer it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: _Text
    relevant: Annotated[tuple[Target, ...], Field(min_length=1)]
    """Targets, or for short their sources: `"hours.md"` or `"hours.md#Opening hours"`."""

    @field_validator("relevant", mode="before")
    @classmethod
    def _read_short_form(cls, given: Any) -> Any:
        rows = [given] if isinstance(given, str | dict) else given
        if not isinstance(rows, list | tuple):
            return given
        return [_target(row) if isinstance(row, str) else row for row in rows]


class _QueryLine(BaseModel):
    model_config = ConfigDict(extra="ignore")

    q: _Text
    k: Annotated[int, Field(ge=1, le=MAX_K)] = DEFAULT_K


@dataclass(slots=True)
class _Lines:
    """The lines of a file that say something, and what is wrong with some."""

    path: Path
    problems: list[str] = field(default_factory=list)

    def read(self) -> list[tuple[int, str]]:
        try:
            text = self.path.read_text("utf-8-sig")
        except OSError as error:
            raise KnowledgeError(f"{self.path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise KnowledgeError(f"{self.path} is not UTF-8 text") from error
        rows = ((number, line.strip()) for number, line in enumerate(text.splitlines(), start=1))
        return [(number, line) for number, line in rows if line and not line.startswith("#")]

    def note(self, number: int, error: Exception) -> None:
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            self.problems.append(f"  line {number}: {where + ': ' if where else ''}{first['msg']}")
        else:
            self.problems.append(f"  line {number}: not JSON: {error}")

    def check(self, count: int, expected: str) -> None:
        if self.problems:
            shown = self.problems[:10]
            rest = len(self.problems) - len(shown)
            more = f"\n  and {rest} more" if rest else ""
            raise KnowledgeError(f"{self.path}: expected {expected}\n" + "\n".join(shown) + more)
        if not count:
            raise KnowledgeError(f"{self.path} is empty: expected {expected}")


def read_queries(path: Path) -> list[Query]:
    """Read queries: a line is one as it is typed, or JSON such as `{"q": "opening hours", "k": 3}`.

    Empty lines and lines that begin with `#` are passed over.

    Raises: KnowledgeError: the file cannot be read, holds none, or a line is none; the text names the lines.
    """
    lines, found = _Lines(path), list[Query]()
    for number, line in lines.read():
        try:
            given = orjson.loads(line) if line.startswith("{") else {"q": line}
            checked = _QueryLine.model_validate(given)
            found.append(Query(text=checked.q, k=checked.k))
        except ValueError as error:
            lines.note(number, error)
    lines.check(len(found), 'one query a line, or {"q": "...", "k": 5}')
    return list(dict.fromkeys(found))


def read_labelled(path: Path) -> list[LabelledQuestion]:
    """Read labelled questions, one a line: `{"question": "When is it open?", "relevant": ["hours.md#Summer"]}`.

    Empty lines and lines that begin with `#` are passed over.

    Raises: KnowledgeError: the file cannot be read, holds none, or a line is none; the text names the lines.
    """
    lines, found = _Lines(path), list[LabelledQuestion]()
    for number, line in lines.read():
        try:
            found.append(LabelledQuestion.model_validate(orjson.loads(line)))
        except ValueError as error:
            lines.note(number, error)
    lines.check(len(found), '{"question": "...", "relevant": ["file.md#Heading"]} on each line')
    return found


def _target(short: str) -> dict[str, str]:
    source, _, heading = short.partition("#")
    return {"source": source.strip(), "heading": heading.strip()}
