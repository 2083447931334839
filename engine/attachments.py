"""Files that came with a message, as passages of that one turn."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from hub.errors import FileProblem
from hub.messages import Attachment
from knowledge.passages import Passage, Retriever

_CHUNK_CHARS = 900
_MAX_CHUNKS = 48
"""Chunks of all files that are looked at; what lies further behind is left out."""


_SHOWN_CHARS = 60
_PROBLEMS: dict[FileProblem, str] = {
    "unsupported": "I cannot read {name}: I read PDF, Word (DOCX), HTML, Markdown, plain text and source code.",
    "too_large": "{name} is too large for me to read.",
    "encrypted": "{name} is protected by a password, so I cannot read it.",
    "damaged": "{name} seems to be damaged: I could not read it.",
    "empty": "I found no text in {name}.",
    "unreachable": "{name} could not be fetched. Please send it again.",
}
_CUT = "{name} is long: I have read its beginning only."


def told_of_files(attachments: Sequence[Attachment]) -> str:
    """Say which files were not read, or not to their end, and why; empty where all were."""
    said = []
    for attachment in attachments:
        if attachment.problem:
            said.append(_PROBLEMS[attachment.problem].format(name=shown_name(attachment)))
        elif attachment.is_cut:
            said.append(_CUT.format(name=shown_name(attachment)))
    return " ".join(said)


def shown_name(attachment: Attachment) -> str:
    """Return a file's name as it may stand in an answer: its sender chose it."""
    plain = "".join(char for char in attachment.name[:_SHOWN_CHARS] if char.isprintable() and char != "`")
    return f"`{plain or 'file'}`"


async def attachment_passages(
    retriever: Retriever, question: str, attachments: Sequence[Attachment], k: int
) -> list[Passage]:
    """Find the passages of the attached files nearest to a question, best first."""
    chunks = [chunk for attachment in attachments for chunk in _chunks(attachment)][:_MAX_CHUNKS]
    if not chunks:
        return []
    # The index numbers its chunks from 0: negative numbers cannot meet them.
    vectors = await retriever.embed([question, *(chunk.text for chunk in chunks)])
    scores = vectors[1:] @ vectors[0]
    found = [
        replace(chunk, chunk_id=-1 - number, score=float(score))
        for number, (chunk, score) in enumerate(zip(chunks, scores, strict=True))
    ]
    return sorted(found, key=lambda passage: -passage.score)[:k]


def _chunks(attachment: Attachment) -> list[Passage]:
    texts: list[str] = []
    for paragraph in attachment.text.split("\n\n"):
        for start in range(0, len(paragraph), _CHUNK_CHARS):
            piece = paragraph[start : start + _CHUNK_CHARS]
            if texts and len(texts[-1]) + len(piece) < _CHUNK_CHARS:
                texts[-1] += f"\n\n{piece}"
            elif piece.strip():
                texts.append(piece)
    version = hashlib.sha256(attachment.text.encode("utf-8", "replace")).hexdigest()
    return [
        Passage(
            chunk_id=-1,
            title=attachment.name,
            location=attachment.name,
            heading="",
            text=text,
            version=version,
            score=0.0,
        )
        for text in texts
    ]
