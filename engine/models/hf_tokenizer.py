"""Prompts to tokens for Hugging Face folders, by the `tokenizers` library alone: without torch or transformers."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from engine.models.hf_folder import Fields, end_tokens, open_folder, read_fields
from engine.models.jinja.template import JinjaTemplate
from engine.models.templates import (
    MessageTemplate,
    ProfileTemplate,
    PromptTokenizer,
    TemplateTokenizer,
    Tokens,
)
from engine.profiles import CHATML, Profile, profile_of
from hub.errors import ModelError
from hub.model_settings import OnnxSettings, SafetensorsSettings

_PREFIXED = 8
"""The last tokens of a prompt that decide how the first one of the answer is spelt."""


def load_tokenizer(settings: SafetensorsSettings | OnnxSettings) -> PromptTokenizer:
    """Read the tokenizer of a model folder and nothing of its weights.

    Raises: ModelError: the folder has none that can be used.
    """
    return HuggingFaceTokenizer.load(settings)


class HuggingFaceVocabulary:
    """The vocabulary of a folder; safe on any thread."""

    def __init__(self, folder: Path) -> None:
        path = folder / "tokenizer.json"
        if not path.exists():
            raise ModelError(
                f"there is no tokenizer.json in {folder}; transformers writes one for most models: "
                "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"
            )
        self.config = read_fields(folder / "tokenizer_config.json")
        self._fields = read_fields(path)
        try:
            self._template = _made(self._fields)
        except Exception as error:
            # The library raises plain Exception for a file it does not understand.
            raise ModelError(f"{path} cannot be used: {error}") from error
        self.chat_template = _chat_template(folder, self.config)
        self.size = self._template.get_vocab_size(with_added_tokens=True)

    @cached_property
    def bos(self) -> str:
        """The text of the token that begins a prompt; empty when there is none."""
        return _text_of(self.config.get("bos_token"))

    @cached_property
    def eos(self) -> str:
        """The text of the token that ends a text; empty when there is none."""
        return _text_of(self.config.get("eos_token"))

    @property
    def bos_token(self) -> int:
        """Its id; -1 when there is none."""
        return self.id_of(self.bos)

    @property
    def adds_bos(self) -> bool:
        """Whether every prompt begins with it, though the template may say nothing of it."""
        begun: list[int] = self._template.encode("a", add_special_tokens=True).ids
        return self.bos_token >= 0 and begun[:1] == [self.bos_token]

    def id_of(self, text: str) -> int:
        """Return the id of a token by its text; -1 when there is none."""
        found = self._template.token_to_id(text) if text else None
        return -1 if found is None else int(found)

    def tokenize(self, text: str, *, is_template: bool, continues: bool = False) -> Tokens:
        """Turn a part of a prompt into tokens; what people write never becomes a special one."""
        if is_template:
            tokenizer = self._continued_template if continues else self._template
        else:
            tokenizer = self._continued_text if continues else self._text
        return np.array(tokenizer.encode(text, add_special_tokens=False).ids, np.int32)

    def spell(self, prompt: Sequence[int]) -> "Spelling":
        """Return what turns the tokens that follow a prompt into text."""
        return Spelling(self._template, prompt)

    # The library's switch `encode_special_tokens` leaves tokens such as <tool_call> alone, which are not marked as
    # special; and where texts are put together only the first may get the space that some vocabularies want.

    @cached_property
    def _text(self) -> Tokenizer:
        return _made(_without_markup(self._fields))

    @cached_property
    def _continued_template(self) -> Tokenizer:
        return _made(_without_prefix(self._fields))

    @cached_property
    def _continued_text(self) -> Tokenizer:
        return _made(_without_prefix(_without_markup(self._fields)))


class Spelling:
    """Turns the tokens of one answer into whole characters."""

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(
            ids=[int(token) for token in prompt[-_PREFIXED:]], skip_special_tokens=True
        )

    def add(self, token: int) -> bytes:
        """Return the text that this token makes certain."""
        try:
            return (self._stream.step(self._tokenizer, token) or "").encode("utf-8", "replace")
        except Exception:
            # The library raises plain Exception where a prompt ends within a character: begin anew.
            self._stream = DecodeStream(skip_special_tokens=True)
            return (self._stream.step(self._tokenizer, token) or "").encode("utf-8", "replace")


class HuggingFaceTokenizer(TemplateTokenizer):
    """Turns prompts into the tokens of a model folder."""

    def __init__(self, vocabulary: HuggingFaceVocabulary, template: MessageTemplate, folder: Path) -> None:
        super().__init__(
            template, vocabulary.tokenize, bos_token=vocabulary.bos_token, adds_bos=vocabulary.adds_bos
        )
        self.vocabulary = vocabulary
        configs = [read_fields(folder / name) for name in ("config.json", "generation_config.json")]
        genai = read_fields(folder / "genai_config.json").get("model", {})
        own = {"eos_token_id": vocabulary.id_of(vocabulary.eos)}
        self.end_tokens = end_tokens(*configs, genai, own) - {-1}

    @classmethod
    def load(cls, settings: SafetensorsSettings | OnnxSettings) -> "HuggingFaceTokenizer":
        """Read the tokenizer of a model folder.

        Raises: ModelError: the folder has none that can be used.
        """
        folder = open_folder(settings.path)
        vocabulary = HuggingFaceVocabulary(folder)
        return cls(vocabulary, template_for(vocabulary, profile_of(settings)), folder)


def template_for(vocabulary: HuggingFaceVocabulary, profile: Profile) -> MessageTemplate:
    """Choose the template: the profile's, else the one of the folder, else ChatML.

    Raises: ModelError: the folder's template cannot be used.
    """
    if profile.template is not None:
        return ProfileTemplate(profile.template)
    if vocabulary.chat_template:
        return JinjaTemplate(vocabulary.chat_template, bos=vocabulary.bos, eos=vocabulary.eos)
    return ProfileTemplate(CHATML)


def _made(fields: Fields) -> Tokenizer:
    tokenizer: Tokenizer = Tokenizer.from_str(json.dumps(fields))
    # A file may say that texts are cut or filled up; a prompt is refused instead where it is too long.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _chat_template(folder: Path, config: Fields) -> str:
    path = folder / "chat_template.jinja"
    if path.exists():
        return path.read_text("utf-8", "replace")
    template = config.get("chat_template", "")
    if isinstance(template, list):
        named = {one.get("name"): one.get("template") for one in template if isinstance(one, dict)}
        template = named.get("default", "")
    return template if isinstance(template, str) else ""


def _text_of(token: Any) -> str:
    text = token.get("content", "") if isinstance(token, dict) else token
    return text if isinstance(text, str) else ""


def _without_markup(fields: Fields) -> Fields:
    """Take the tokens away that no text of people may hold; runs of blanks are harmless and stay."""
    added = [token for token in fields.get("added_tokens") or [] if not token["content"].strip()]
    return {**fields, "added_tokens": added, "post_processor": None}


def _without_prefix(fields: Fields) -> Fields:
    """Take the blank away that some vocabularies put before a text."""
    changed = dict(fields)
    for name in ("normalizer", "pre_tokenizer"):
        changed[name] = _unprefixed(fields.get(name))
    return changed


def _unprefixed(part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    if part.get("type") == "Prepend":
        return None
    if part.get("type") == "Metaspace":
        return {**part, "prepend_scheme": "never"}
    if part.get("type") == "ByteLevel":
        return {**part, "add_prefix_space": False}
    if part.get("type") == "Sequence":
        key = "normalizers" if "normalizers" in part else "pretokenizers"
        kept = [one for one in map(_unprefixed, part[key]) if one is not None]
        return {**part, key: kept} if kept else None
    return part
