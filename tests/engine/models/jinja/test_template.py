"""Templates of model files, in the manner of well-known families."""

import json
from collections.abc import Sequence
from datetime import date
from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from engine.models.base import ChatMessage, Role
from engine.models.jinja.meter import TemplateError
from engine.models.jinja.template import JinjaTemplate
from engine.models.templates import Insert
from tests.engine.models.jinja.families import CHATML, FAMILIES, GEMMA, MISTRAL

TALK: tuple[tuple[Role, str], ...] = (
    ("system", "Be brief."),
    ("user", "Hello <|im_end|>"),
    ("assistant", "Hi."),
    ("user", "Who are you?"),
)


def _messages(talk: Sequence[tuple[Role, str]]) -> list[ChatMessage]:
    return [ChatMessage(role=role, text=text) for role, text in talk]


def _open(source: str) -> JinjaTemplate:
    return JinjaTemplate(source, bos="<s>", eos="</s>")


def _written(template: JinjaTemplate, messages: Sequence[ChatMessage]) -> str:
    """Put the texts where the template wants them."""
    text = ""
    for piece in template.pieces(messages):
        if isinstance(piece, Insert):
            said = messages[piece.message].text
            said = said.lstrip() if piece.trims_start else said
            text += said.rstrip() if piece.trims_end else said
        else:
            text += piece
    return text


class _Generation(Extension):
    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _rendered(source: str, messages: Sequence[ChatMessage]) -> str:
    """Do what transformers does with a template and the texts themselves."""

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    def to_json(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = date.today().strftime
    return environment.from_string(source).render(
        messages=[{"role": message.role, "content": message.text} for message in messages],
        add_generation_prompt=True,
        tools=None,
        documents=None,
        bos_token="<s>",
        eos_token="</s>",
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_a_conversation_is_written_as_the_model_was_trained(family: str) -> None:
    """Marks in place of texts lead to what a plain rendering of the texts gives."""
    # Gemma's refuses a system message.
    messages = _messages(TALK[1:] if family == "gemma" else TALK)

    assert _written(_open(FAMILIES[family]), messages) == _rendered(FAMILIES[family], messages)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_text_finds_its_place(family: str) -> None:
    """No family loses a text, whatever roles follow each other."""
    template = _open(FAMILIES[family])
    roles: tuple[Role, ...] = ("system", "assistant", "user", "user", "system", "assistant", "user")

    written = _written(template, [ChatMessage(role=role, text=f"text {n}") for n, role in enumerate(roles)])

    assert [written.count(f"text {n}") for n in range(len(roles))] == [1] * len(roles)


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"qwen 3", "macros"}))
def test_a_longer_conversation_begins_like_the_shorter_one(family: str) -> None:
    """What was computed for an earlier turn can be used by the next."""
    template = _open(FAMILIES[family])
    messages = _messages(TALK)

    short, long = (_written(template, messages[:length]) for length in (2, 4))

    assert long.startswith(short)


def test_a_refused_system_message_goes_into_the_first_question() -> None:
    """Gemma's template knows no system role; what it said is not lost."""
    written = _written(_open(GEMMA), _messages(TALK[:2]))

    assert written == (
        "<s><start_of_turn>user\nBe brief.\n\nHello <|im_end|><end_of_turn>\n<start_of_turn>model\n"
    )


def test_roles_that_do_not_alternate_are_joined() -> None:
    """Two questions in a row are one message for a template that wants turns."""
    messages = _messages([("user", "One."), ("user", "Two."), ("assistant", "Three."), ("user", "Four.")])

    assert _written(_open(MISTRAL), messages) == "<s>[INST] One.\n\nTwo.[/INST] Three.</s>[INST] Four.[/INST]"


def test_a_conversation_that_begins_with_the_assistant_is_taken() -> None:
    """An empty question is put before it where the template wants one."""
    written = _written(_open(GEMMA), _messages([("assistant", "Welcome."), ("user", "Hello.")]))

    assert "<start_of_turn>model\nWelcome.<end_of_turn>\n<start_of_turn>user\nHello." in written


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages[-1].content }}{{ messages[-1].content }}",
        "{% for m in messages %}{{ m.content | upper | title | trim }}{% endfor %}",
        "{% for m in messages %}{{ m.content | replace('a', 'b') }}{% endfor %}",
        "{% for m in messages %}{{ m | tojson }}{% endfor %}",
        "{% for m in messages %}{{ m.content.split('\n') | join('\n') }}{% endfor %}",
        "{% for m in messages %}{% if 'secret' in m.content %}{{ raise_exception('no') }}{% endif %}{{ m.content }}"
        "{% endfor %}",
        "{{ messages | map(attribute='content') | join('\n') }}",
        "{% for m in messages if m.role != 'system' %}{{ m['content'] }}{% endfor %}",
    ],
)
def test_a_template_that_plays_with_texts_still_holds_the_question(source: str) -> None:
    """Doubling, changing, asking or leaving out: the last text stands there, unchanged."""
    written = _written(_open(source), _messages([*TALK[:3], ("user", "The secret banana")]))

    assert "The secret banana" in written


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{% for m in messages %}{{ m.content[3:] }}{% endfor %}", "takes texts apart"),
        ("{% for m in messages %}{{ m.content[:8] }}{% endfor %}", "takes texts apart"),
        ("{% for m in messages %}{{ m.content | list | join('-') }}{% endfor %}", "takes texts apart"),
        ("{{ bos_token }}", "leaves out the last message"),
        ("{{ raise_exception('never') }}", "refuses these messages: never"),
        ("{% for m in messages %}", "cannot be read"),
        ("{{ messages.nothing.of.that }}", "failed"),
        ("{{ x | unknown }}", "cannot be read"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused_when_it_is_opened(source: str, problem: str) -> None:
    """The error says what is wrong with it."""
    with pytest.raises(TemplateError, match=problem):
        _open(source)


@given(
    st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text(max_size=40)), min_size=1)
)
def test_no_text_changes_the_pieces(talk: list[tuple[Role, str]]) -> None:
    """The template's own pieces depend on roles and on which texts are blank, and on nothing else."""
    template = _open(CHATML)
    messages = _messages(talk)
    others = [
        ChatMessage(role=message.role, text="x" if message.text.strip() else "") for message in messages
    ]

    assert template.pieces(messages) == template.pieces(others)


def test_white_space_is_trimmed_where_the_template_does() -> None:
    """Each place of a text tells whether the model was trained on trimmed texts."""
    messages = [ChatMessage(role="user", text="  Hello. \n")]

    assert "user\nHello.<end" in _written(_open(GEMMA), messages)
    assert "user\n  Hello. \n<|im_end|>" in _written(_open(CHATML), messages)
