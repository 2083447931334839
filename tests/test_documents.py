"""What the documents say: links, commands, settings, examples, and what the assistant answers from them."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import typer.main
from pydantic import BaseModel
from typer.core import TyperGroup

from engine.models.registry import load_model
from engine.turn import Assistant, Recollection
from hub.cli.commands import app
from hub.messages import Address, InboundMessage
from hub.secret_sources.files import FOLDER_VARIABLE
from hub.secret_sources.names import referring
from hub.settings import Settings, load_settings
from knowledge.search import KnowledgeBase
from tests.engine.assistants import make_assistant
from tests.settings_tree import ROOT, bare_environment, environment_name, fields, leaves


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare_environment(monkeypatch, tmp_path)


DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
DOCUMENT_TEXT = "\n".join(document.read_text("utf-8") for document in DOCUMENTS)
EVERY_DOCUMENT = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def anchors(text: str) -> set[str]:
    """Give the names that links to headings of a document use."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@EVERY_DOCUMENT
def test_links_lead_to_what_exists(document: Path) -> None:
    """Each link within the project names a file that is there, and a heading of it."""
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", document.read_text("utf-8")):
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.is_file(), target
        assert not anchor or anchor in anchors(file.read_text("utf-8")), target


def test_documents_mention_every_command() -> None:
    """Whatever `hubbub --help` lists is told somewhere, and nothing else is promised."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    commands = set(group.commands)

    mentioned = set(re.findall(r"(?:^|[`/ ])hubbub ([a-z]+)\b", DOCUMENT_TEXT, re.MULTILINE))

    assert mentioned == commands


@EVERY_DOCUMENT
def test_documents_name_settings_that_exist(document: Path) -> None:
    """`table.setting` in a document is a setting, and so is each HUBBUB_ variable."""
    text = document.read_text("utf-8")
    known = {".".join(path) for path, _ in leaves(Settings())}
    tables = "|".join(name for name in fields(Settings()) if isinstance(getattr(Settings(), name), BaseModel))
    variables = {environment_name(*path) for path, _ in leaves(Settings())} | {
        "HUBBUB_SETTINGS",
        FOLDER_VARIABLE,
    }
    variables |= {f"{name}_FILE" for name in variables if referring(f"{name}_FILE", Settings)}
    # Of the table that docs/models.md adds.
    variables.add("HUBBUB_MODELS__FAR__API_KEY")
    # Of the table that docs/connectors.md adds.
    variables.add("HUBBUB_CONNECTORS__SHOP__SECRET")

    for name in re.findall(rf"`((?:{tables})\.[a-z_0-9]+)(?: = [^`]*)?`", text):
        assert name in known or name in KNOWN_NAMES, name
    for name in re.findall(r"HUBBUB_[A-Z_0-9]*[A-Z0-9]", text):
        assert name in variables, name


KNOWN_NAMES = {"hub.messages", "log.jsonl", "email.accounts", "keys.tiers"}
"""Names of modules and tables, written like settings."""


@EVERY_DOCUMENT
def test_toml_in_documents_loads(document: Path, tmp_path: Path) -> None:
    """Whoever copies a TOML block into the settings gets settings that load."""
    for number, block in enumerate(re.findall(r"```toml\n(.*?)```", document.read_text("utf-8"), re.DOTALL)):
        file = tmp_path / f"{number}.toml"
        file.write_text(block, "utf-8")
        load_settings(file)


async def test_the_example_connector_keeps_the_contract(tmp_path: Path) -> None:
    """Both programs of docs/connectors.md, each saved as a file, run as the tests of another package would."""
    text = (ROOT / "docs/connectors.md").read_text("utf-8")
    programs = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    connector = next(program for program in programs if "class FolderConnector" in program)
    tests = next(program for program in programs if "class TestFolder" in program)
    (tmp_path / "folder.py").write_text(connector, "utf-8")
    (tmp_path / "test_folder.py").write_text(tests, "utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "--quiet", "-p", "no:cacheprovider", "test_folder.py"),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told = (await process.communicate())[0].decode()

    assert process.returncode == 0, told
    assert re.search(r"\b10 passed", told), told


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def assistant(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Assistant]:
    """Give an assistant as a fresh install has it: the bundled models, and the project's own documents."""
    data = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as monkeypatch:
        bare_environment(monkeypatch, data)
        settings = Settings(data=data)
    base = await KnowledgeBase.open(settings)
    model = await load_model(settings.engine.model, settings.models)
    await base.ready()
    yield make_assistant(model, base)
    await model.close()
    await base.close()


class Unseen:
    """Takes the text on its way and shows it to nobody."""

    async def add(self, text: str) -> None:
        """Take text."""

    async def waiting(self, wait_s: float) -> None:
        """Be patient."""

    async def reset(self) -> None:
        """Forget it."""


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("How do I connect Telegram?", "HUBBUB_TELEGRAM__TOKEN"),
        ("How do I add documents?", "hubbub ingest"),
        ("How do I connect a mailbox?", "[[email.accounts]]"),
        ("How do I put the widget on my page?", "/widget.js"),
        ("Where is my data kept?", "folder data"),
        ("How do I get an API key?", "hubbub keys create"),
        ("What happens if the machine crashes?", "no accepted message is lost"),
        ("How do I back up Hubbub?", "run hubbub backup"),
        ("How do I change the port?", "--port"),
        ("Can a reply be sent twice?", "Telegram"),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_a_fresh_hub_answers_questions_about_itself(
    assistant: Assistant, question: str, said: str
) -> None:
    """What a newcomer asks first is answered from the README and docs/, with its source."""
    message = InboundMessage(
        external_key="api:question",
        conversation="api-question",
        address=Address(connector="api", account="test", chat="question", person="newcomer"),
        text=question,
    )

    answer = await assistant.answer(message, Recollection(turns=[], facts={}), Unseen())

    assert said in answer.text.replace("`", "")
    assert all(source.location.endswith(".md") for source in answer.sources)
    assert answer.sources
