"""Source code is cut where its definitions begin."""

import pytest

from hub.documents.parsing import parse
from hub.settings import KnowledgeSettings
from knowledge.chunks import Chunker
from knowledge.embedder import Embedder
from knowledge.source_code import code_sections
from tests.cost import times_as_long
from tests.settings_tree import ROOT

PYTHON = '''"""A module."""

import os

LIMIT = 3


# How it is kept.
@dataclass
class Store:
    """Keeps things."""

    def put(self, name):
        return os.path.join(name)

    async def get(self):
        return 1


def open_store():
    return Store()
'''
JAVASCRIPT = "import x from 'y';\n\nexport const add = (a, b) => {\n  return a + b;\n};\n\nclass Cart {\n  total() {}\n}\n"
GO = "package store\n\n// Get gives one.\nfunc (s *Store) Get(id int) error {\n\treturn nil\n}\n\ntype Store struct {\n}\n"
RUST = "use std::io;\n\nimpl Store {\n    pub fn get(&self) -> u8 {\n        1\n    }\n}\n"
C = "#include <a.h>\n\nint main(int argc, char **argv)\n{\n  if (argc) {\n    run();\n  }\n  return 0;\n}\n"
SQL = "CREATE TABLE people (\n  id int\n);\n\ncreate view grown as select 1;\n"


@pytest.mark.parametrize(
    ("text", "headings"),
    [
        (PYTHON, ["", "Store", "Store > put", "Store > get", "open_store"]),
        (JAVASCRIPT, ["", "add", "Cart"]),
        (GO, ["", "Get", "Store"]),
        (RUST, ["", "Store", "Store > get"]),
        (C, ["", "main"]),
        (SQL, ["people", "grown"]),
        ("a = 1\nb = 2\n", [""]),
    ],
    ids=["python", "javascript", "go", "rust", "c", "sql", "none"],
)
def test_definitions_are_headings(text: str, headings: list[str]) -> None:
    """Each part stands under what it defines, and together the parts are the file."""
    sections = list(code_sections(text))

    assert [section.heading for section in sections] == headings
    assert "".join("".join(section.text.split()) for section in sections) == "".join(text.split())


def test_comments_stay_with_what_they_explain() -> None:
    """What stands directly above a definition is part of it."""
    sections = {section.heading: section.text for section in code_sections(PYTHON)}

    assert sections["Store"].startswith("# How it is kept.\n@dataclass\nclass Store:")


@pytest.mark.parametrize(
    "line",
    [
        "int a(" * 60,
        "export " * 50,
        "a " * 190,
        "int " * 90,
        "(" * 400,
        "class " + "A" * 390,
        "const a = (" * 30,
    ],
)
def test_crafted_lines_take_no_time(line: str) -> None:
    """No line makes a pattern walk for long: it takes hardly more than plain lines of the same length."""
    crafted = (line + "\n") * 2_000
    plain = "total = a + b\n" * (len(crafted) // 14)

    assert times_as_long(lambda: list(code_sections(crafted)), lambda: list(code_sections(plain))) < 10


def test_chunks_of_code_know_where_they_stand(embedder: Embedder) -> None:
    """A file of this project is cut at its methods; every chunk fits into the model and stands in the file."""
    data = (ROOT / "knowledge" / "index" / "keeper.py").read_bytes()

    chunks = Chunker(embedder.tokenizer_file, KnowledgeSettings().chunk_tokens).split(
        parse(data, "keeper.py")
    )

    headings = {chunk.heading for chunk in chunks}
    assert {"IndexKeeper > refresh", "IndexKeeper > open", "_version"} <= headings
    assert all(chunk.text in data.decode() for chunk in chunks)
    assert max(embedder.count_tokens([chunk.text]) for chunk in chunks) <= KnowledgeSettings().chunk_tokens
