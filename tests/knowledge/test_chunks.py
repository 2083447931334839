"""Chunks fit the embedding model and know where they stand."""

import pytest
from tokenizers import Tokenizer

from hub.documents.parsing import parse
from knowledge.chunks import Chunk, Chunker, EmbeddedText
from knowledge.embedder import Embedder

LONG = "The river flows past the old mill and the new bridge. " * 200


@pytest.fixture
def chunker(embedder: Embedder) -> Chunker:
    """Cut into chunks of 50 tokens."""
    return Chunker(embedder.tokenizer_file, 50)


@pytest.mark.parametrize("name", ["long.md", "long.txt"])
def test_no_chunk_is_longer_than_allowed(embedder: Embedder, chunker: Chunker, name: str) -> None:
    """Tokens are counted beyond the 128 at which the tokenizer's file would stop."""
    tokenizer = Tokenizer.from_file(str(embedder.tokenizer_file))
    tokenizer.no_truncation()
    tokenizer.no_padding()

    chunks = chunker.split(parse(LONG.encode(), name))

    assert len(chunks) > 40
    assert max(len(tokenizer.encode(chunk.text).ids) for chunk in chunks) <= 52


def test_chunks_hold_the_whole_text(chunker: Chunker) -> None:
    """Nothing is lost between two chunks."""
    chunks = chunker.split(parse(LONG.encode(), "long.txt"))

    assert " ".join(chunk.text for chunk in chunks).split() == LONG.split()


@pytest.mark.parametrize(
    ("heading", "text", "context"),
    [
        ("", "Guide\nSet the password.", ""),
        ("Mail", "Mail\nSet the password.", "Guide"),
        ("Channels > Mail", "Mail\nSet the password.", "Guide > Channels"),
    ],
)
def test_chunk_is_embedded_below_its_heading(heading: str, text: str, context: str) -> None:
    """What is embedded says what the text is about; where that stands is kept apart."""
    chunk = Chunk(heading=heading, text="Set the password.")

    assert chunk.embedded("Guide") == EmbeddedText(text, context)


def test_digest_tells_text_and_context_apart() -> None:
    """The same words elsewhere have another embedding."""
    texts = [EmbeddedText("a", "b"), EmbeddedText("ab", ""), EmbeddedText("a", "")]

    assert len({text.digest for text in texts}) == 3


def test_word_without_end_is_cut(chunker: Chunker) -> None:
    """A text without a single space is cut, too."""
    chunks = chunker.split(parse(b"x" * 5_000, "x.txt"))

    assert sum(len(chunk.text) for chunk in chunks) == 5_000


def test_chunks_without_words_are_left_out(chunker: Chunker) -> None:
    """Rules and empty tables are not embedded."""
    assert [chunk.text for chunk in chunker.split(parse(b"# A\n\n---\n\n# B\n\nText.", "a.md"))] == ["Text."]


def test_the_line_that_opens_a_long_block_of_code_is_no_chunk(chunker: Chunker) -> None:
    """Under its heading it would be found before everything that says something."""
    block = "".join(
        f"docker compose run --rm engine hubbub ingest /documents/{number}\n" for number in range(40)
    )
    chunks = chunker.split(parse(f"# Many\n\nRun:\n\n```sh\n{block}```\n\nDone.".encode(), "long.md"))

    assert "```sh" not in [chunk.text for chunk in chunks]
    assert sum(chunk.text.count("docker compose") for chunk in chunks) == 40
