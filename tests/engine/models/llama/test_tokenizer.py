"""Prompts to tokens, by vocabularies of several families."""

import gc
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.models.base import ChatMessage, Prompt, Role
from engine.models.jinja.meter import TemplateError
from engine.models.jinja.template import JinjaTemplate
from engine.models.llama.tokenizer import LlamaTokenizer, open_vocabulary, template_for
from engine.models.llama.vocabulary import Vocabulary
from engine.models.templates import ProfileTemplate
from engine.profiles import CHATML, GENERAL, SMOLLM2
from hub.errors import ModelError
from tests.engine.models.jinja.families import FAMILIES, GEMMA, LLAMA_3, MISTRAL, ZEPHYR
from tests.gguf_vocabulary import write_vocabulary

SPECIAL = ("<|im_start|>", "<|im_end|>", "[INST]", "[/INST]", "<start_of_turn>", "<end_of_turn>")
TALK = (
    ChatMessage(role="system", text="Be brief."),
    ChatMessage(role="user", text="Hello world"),
    ChatMessage(role="assistant", text="Hello."),
    ChatMessage(role="user", text="Who?"),
)


def _spelled(vocabulary: Vocabulary, tokens: np.ndarray) -> str:
    """Write tokens as text, special ones by their names."""
    return b"".join(vocabulary._bytes(int(token), is_special=True) for token in tokens).decode()


def _small(tmp_path: Path, template: str, **options: Any) -> LlamaTokenizer:
    path = write_vocabulary(tmp_path / "v.gguf", special=SPECIAL, template=template, **options)
    vocabulary = open_vocabulary(path)
    return LlamaTokenizer(vocabulary, template_for(vocabulary, GENERAL))


def test_the_file_s_template_and_the_profile_s_agree(vocabulary: Vocabulary) -> None:
    """The bundled model was trained on ChatML, and its file says so."""
    by_profile = LlamaTokenizer(vocabulary, template_for(vocabulary, SMOLLM2)).encode(Prompt(messages=TALK))
    by_file = LlamaTokenizer(vocabulary, template_for(vocabulary, GENERAL)).encode(Prompt(messages=TALK))

    assert by_profile.tokens.tolist() == by_file.tokens.tolist()
    assert _spelled(vocabulary, by_file.tokens).startswith("<|im_start|>system\nBe brief.<|im_end|>\n")


@pytest.mark.parametrize("family", FAMILIES)
@given(
    text=st.sampled_from(["<|im_end|>", "<|im_start|>system\n", "</s>", "<|endoftext|>", "<s>"]) | st.text()
)
@settings(max_examples=20, deadline=None)
def test_a_text_never_becomes_a_special_token(vocabulary: Vocabulary, family: str, text: str) -> None:
    """Whatever template, what a person types is text: as many special tokens stand there as without it."""
    tokenizer = LlamaTokenizer(
        vocabulary, JinjaTemplate(FAMILIES[family], bos="<|im_start|>", eos="<|im_end|>")
    )
    special = [0, 1, 2]

    plain, typed = (
        tokenizer.encode(Prompt(messages=(ChatMessage(role="user", text=one),))).tokens
        for one in ("x" if text.strip() else "", text)
    )

    assert np.isin(typed, special).sum() == np.isin(plain, special).sum()


def test_a_text_never_becomes_a_user_defined_token(tmp_path: Path) -> None:
    """llama.cpp reads these in any text; here they stay letters, and the text stays the same."""
    defined = ("<tool_call>", "<<tool_call>>", "[TOOL]")
    vocabulary = open_vocabulary(write_vocabulary(tmp_path / "v.gguf", special=SPECIAL, defined=defined))
    marks = [int(vocabulary.tokenize(mark, is_template=True)[-1]) for mark in defined]

    for text in ("a <tool_call> b", "<<tool_call>>", "<tool_call><tool_call>", "Hello [TOOL]", "<tool_call"):
        tokens = vocabulary.tokenize(text, is_template=False)

        assert not np.isin(
            tokens, [*marks, *range(vocabulary.size - len(SPECIAL) - 3, vocabulary.size)]
        ).any()
        assert _spelled(vocabulary, tokens).lstrip() == text

    assert np.isin(vocabulary.tokenize("Hello <tool_call>", is_template=True), marks).any()


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"qwen 3", "macros"}))
def test_a_longer_conversation_begins_with_the_same_tokens(vocabulary: Vocabulary, family: str) -> None:
    """All but the last few tokens of a turn are the beginning of the next."""
    tokenizer = LlamaTokenizer(vocabulary, JinjaTemplate(FAMILIES[family], bos="", eos="<|im_end|>"))

    short, long = (tokenizer.encode(Prompt(messages=TALK[:length])).tokens for length in (2, 4))

    assert long[: len(short)].tolist() == short.tolist()


@pytest.mark.parametrize("shared", range(5))
@pytest.mark.parametrize("family", FAMILIES)
def test_the_shared_part_holds_nobody_s_text(vocabulary: Vocabulary, family: str, shared: int) -> None:
    """It is the same whatever the later texts say, and holds all of the shared ones that come first."""
    tokenizer = LlamaTokenizer(vocabulary, JinjaTemplate(FAMILIES[family], bos="<s>", eos="</s>"))
    others = tuple(ChatMessage(role=one.role, text="Something else, of my own.") for one in TALK)

    mine = tokenizer.encode(Prompt(messages=TALK, shared=shared))
    theirs = tokenizer.encode(Prompt(messages=(*TALK[:shared], *others[shared:]), shared=shared))

    assert mine.shared == theirs.shared
    assert mine.tokens[: mine.shared].tolist() == theirs.tokens[: mine.shared].tolist()
    spelled = _spelled(vocabulary, mine.tokens[: mine.shared])
    assert all(one.text in spelled for one in TALK[:shared])
    assert (mine.shared == len(mine.tokens)) == (shared == 4)


@pytest.mark.parametrize("adds_bos", [True, False])
@pytest.mark.parametrize(
    "template", [LLAMA_3, GEMMA, MISTRAL, FAMILIES["chatml"], ZEPHYR], ids=lambda t: t[:20]
)
def test_bos_stands_once(tmp_path: Path, template: str, adds_bos: bool) -> None:
    """The template may write it, the file may want it: it is there once; with neither it is not."""
    tokenizer = _small(tmp_path, template, adds_bos=adds_bos)

    tokens = tokenizer.encode(Prompt(messages=TALK, shared=1)).tokens.tolist()

    assert tokens.count(1) == (1 if adds_bos or "bos_token" in template else 0)
    assert tokens.count(1) == tokens[:1].count(1)


def test_bos_written_twice_stands_once(tmp_path: Path) -> None:
    """A template that writes it again changes nothing, and the shared part is still the shared part."""
    tokenizer = _small(tmp_path, "{{ bos_token }}{{ bos_token }}" + FAMILIES["chatml"])

    encoded = tokenizer.encode(Prompt(messages=TALK, shared=1))

    assert encoded.tokens.tolist().count(1) == 1
    assert _spelled(tokenizer.vocabulary, encoded.tokens[: encoded.shared]).endswith(
        "Be brief.<|im_end|> \n<|im_start|> user\n"
    )


def test_plain_text_is_continued_as_it_stands(tmp_path: Path, vocabulary: Vocabulary) -> None:
    """BOS where the model wants it, then the text, in which nothing is special."""
    small = _small(tmp_path, "")
    bundled = LlamaTokenizer(vocabulary, ProfileTemplate(CHATML))

    encoded = small.encode(Prompt(text="Hello <s> world"))

    assert encoded.tokens[0] == 1
    assert encoded.tokens.tolist().count(1) == 1
    assert encoded.shared == 0
    assert _spelled(small.vocabulary, encoded.tokens) == "<s> Hello <s> world"
    assert (
        bundled.encode(Prompt(text="Hi")).tokens.tolist()
        == vocabulary.tokenize("Hi", is_template=False).tolist()
    )


def test_an_empty_prompt_is_refused(vocabulary: Vocabulary) -> None:
    """There is nothing a model without BOS could continue."""
    with pytest.raises(ModelError, match="empty"):
        LlamaTokenizer(vocabulary, ProfileTemplate(CHATML)).encode(Prompt())


def test_parts_are_joined_as_the_whole_text_would_be(tmp_path: Path) -> None:
    """A vocabulary that begins every text with a space does so once, not before every part."""
    tokenizer = _small(tmp_path, MISTRAL)
    zephyr = _small(tmp_path, ZEPHYR)

    mistral_tokens = tokenizer.encode(Prompt(messages=TALK[1:])).tokens
    zephyr_tokens = zephyr.encode(Prompt(messages=TALK[1:2])).tokens

    assert (
        _spelled(tokenizer.vocabulary, mistral_tokens)
        == "<s>[INST] Hello world[/INST] Hello.</s>[INST] Who?[/INST]"
    )
    words = [_spelled(tokenizer.vocabulary, mistral_tokens[one : one + 1]) for one in range(4)]
    assert words == ["<s>", "[INST]", " Hello", " world"]
    assert _spelled(zephyr.vocabulary, zephyr_tokens) == "<s> <|user|>\nHello world</s> \n<|assistant|>\n"


# The bundled vocabulary lacks bytes that only control characters and planes nobody writes in need.
@given(text=st.text(st.characters(max_codepoint=0x1FFFF, categories=["L", "N", "P", "S", "Zs"]), max_size=60))
@settings(deadline=None)
def test_every_text_comes_back_from_its_tokens(vocabulary: Vocabulary, text: str) -> None:
    """Pieces joined are the bytes of the text."""
    for continues in (False, True):
        tokens = vocabulary.tokenize(text, is_template=False, continues=continues)
        assert b"".join(map(vocabulary.piece, tokens.tolist())) == text.encode("utf-8", "replace")


def test_a_continued_text_has_no_space_of_its_own(tmp_path: Path) -> None:
    """Whatever it begins with, its pieces are its bytes."""
    vocabulary = _small(tmp_path, "").vocabulary
    for text in ("Hello", " Hello", "\nHello", "\n\n", "é", "", "  "):
        tokens = vocabulary.tokenize(text, is_template=False, continues=True)
        assert _spelled(vocabulary, tokens) == text
    assert _spelled(vocabulary, vocabulary.tokenize("Hello", is_template=False)) == " Hello"


def test_counts_are_the_lengths_of_prompts(vocabulary: Vocabulary) -> None:
    """Counting and encoding see the same prompt."""
    tokenizer = LlamaTokenizer(vocabulary, template_for(vocabulary, GENERAL))
    roles: tuple[Role, ...] = ("system", "user", "assistant")
    for length in range(1, 4):
        messages = tuple(ChatMessage(role=role, text="word " * 50) for role in roles[:length])
        assert tokenizer.count(messages) == len(tokenizer.encode(Prompt(messages=messages)).tokens)


def test_tokens_of_a_prompt_cannot_be_changed(vocabulary: Vocabulary) -> None:
    """They may be shared by prompts that come later."""
    tokens = LlamaTokenizer(vocabulary, ProfileTemplate(CHATML)).encode(Prompt(messages=TALK)).tokens

    with pytest.raises(ValueError, match="read-only"):
        tokens[0] = 1


@pytest.mark.parametrize("template", ["{{ 'x' * 1000000000 }}", "{% if %}", "{{ bos_token }}"])
def test_a_file_with_a_bad_template_is_refused(tmp_path: Path, template: str) -> None:
    """The model is not loaded with a template that cannot be used, unless its profile has one."""
    with pytest.raises(TemplateError):
        _small(tmp_path, template)
    vocabulary = open_vocabulary(tmp_path / "v.gguf")

    assert isinstance(template_for(vocabulary, SMOLLM2), ProfileTemplate)


def test_a_file_without_a_template_is_spoken_to_in_chatml(tmp_path: Path) -> None:
    """Something has to stand between the messages."""
    tokenizer = _small(tmp_path, "")

    tokens = tokenizer.encode(Prompt(messages=TALK[1:2])).tokens

    # llama.cpp puts a space behind special tokens of such a vocabulary.
    assert "<|im_start|> user" in _spelled(tokenizer.vocabulary, tokens)


def test_a_vocabulary_knows_what_a_context_takes(tmp_path: Path, vocabulary: Vocabulary) -> None:
    """Keys and values of each layer, from the file's own words."""
    small = _small(tmp_path, "").vocabulary

    assert vocabulary.kv_bytes_per_token("f16") == 30 * 3 * 2 * 64 * 2
    assert small.kv_bytes_per_token("f16") == 2 * 2 * 2 * 16 * 2
    assert small.kv_bytes_per_token("q8_0") == 2 * 2 * 2 * 16 * 34 / 32
    assert small.metadata("nothing.of.that") == ""


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    """Missing or junk."""
    (tmp_path / "junk.gguf").write_bytes(os.urandom(100))

    for name in ("missing.gguf", "junk.gguf"):
        with pytest.raises(ModelError, match=name):
            open_vocabulary(tmp_path / name)


def test_a_vocabulary_can_be_opened_and_let_go_again_and_again(tmp_path: Path) -> None:
    """Nothing is freed twice, and what was read stays."""
    for _ in range(20):
        tokenizer = _small(tmp_path, GEMMA)
        assert tokenizer.count(TALK) > 0
        del tokenizer
    gc.collect()
