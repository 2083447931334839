"""Embeddings of the project's own documents, computed beforehand: a fresh hub answers without waiting for them.

`python -m knowledge.precomputed` writes them after a change of the documents; `--check` tells whether that is due.
A text that is not among them is embedded at start, so an old file costs seconds and nothing else.
"""

import sys
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from hub.documents import parsing
from hub.errors import KnowledgeError
from hub.settings import KnowledgeSettings
from knowledge.chunks import Chunker, EmbeddedText
from knowledge.contextual import embed_chunks
from knowledge.embedder import Embedder
from knowledge.ingest import bundled_documents

FILE = Path(__file__).with_name("precomputed.npz")


def precomputed(model: str) -> dict[str, bytes]:
    """Give the embeddings by the hash of what was embedded; none if they are of another model or unreadable."""
    try:
        with FILE.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            if str(stored["model"]) != model:
                return {}
            vectors = stored["vectors"].astype(np.float32)
            hashes = [row.tobytes().hex() for row in stored["hashes"]]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return {}
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return {digest: row.astype("<f4").tobytes() for digest, row in zip(hashes, vectors, strict=True)}


def bundled_texts(embedder: Embedder, settings: KnowledgeSettings) -> dict[str, EmbeddedText]:
    """Give what is embedded of the project's own documents, by hash."""
    chunker = Chunker(embedder.tokenizer_file, settings.chunk_tokens)
    texts = {}
    for path in bundled_documents():
        document = parsing.parse(parsing.load(path, settings.max_document_bytes), path.name)
        for chunk in chunker.split(document):
            text = chunk.embedded(document.title)
            texts[text.digest] = text
    return texts


def write(embedder: Embedder, settings: KnowledgeSettings) -> int:
    """Write the file anew.

    Returns: how many embeddings are in it.
    """
    texts = bundled_texts(embedder, settings)
    vectors = embed_chunks(embedder, list(texts.values())).astype(np.float16)
    hashes = np.frombuffer(b"".join(map(bytes.fromhex, texts)), np.uint8).reshape(-1, 32)
    np.savez(FILE, model=np.array(embedder.model), hashes=hashes, vectors=vectors)
    return len(texts)


def main() -> None:
    """Write the file, or with `--check` fail when texts are missing in it."""
    settings = KnowledgeSettings()
    embedder = Embedder(settings, threads=0)
    try:
        if "--check" in sys.argv:
            missing = bundled_texts(embedder, settings).keys() - precomputed(embedder.model).keys()
            sys.exit(
                f"{len(missing)} embeddings are missing: python -m knowledge.precomputed" if missing else 0
            )
        sys.stdout.write(f"{write(embedder, settings)} embeddings written to {FILE}\n")
    except KnowledgeError as error:
        sys.exit(str(error))
    finally:
        embedder.close()


if __name__ == "__main__":
    main()
