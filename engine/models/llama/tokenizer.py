"""Prompts to tokens for GGUF models, with the weights or without them."""

import os
from pathlib import Path
from typing import Any

from engine.models.jinja.template import JinjaTemplate
from engine.models.llama.library import llama_cpp, start_library
from engine.models.llama.vocabulary import Vocabulary
from engine.models.templates import MessageTemplate, ProfileTemplate, TemplateTokenizer
from engine.profiles import CHATML, Profile
from hub.errors import ModelError


class LlamaTokenizer(TemplateTokenizer):
    """Turns prompts into the tokens of a GGUF model."""

    def __init__(self, vocabulary: Vocabulary, template: MessageTemplate) -> None:
        super().__init__(
            template,
            vocabulary.tokenize,
            bos_token=vocabulary.bos_token,
            adds_bos=vocabulary.adds_bos,
        )
        self.vocabulary = vocabulary


def template_for(vocabulary: Vocabulary, profile: Profile) -> MessageTemplate:
    """Choose the template: the profile's, else the one of the model file, else ChatML.

    Raises: ModelError: the model file's template cannot be used.
    """
    if profile.template is not None:
        return ProfileTemplate(profile.template)
    if not vocabulary.chat_template:
        return ProfileTemplate(CHATML)
    return JinjaTemplate(vocabulary.chat_template, bos=vocabulary.bos, eos=vocabulary.eos)


def open_vocabulary(path: Path) -> Vocabulary:
    """Read the vocabulary of a model file and nothing of its weights.

    Raises: ModelError: llama.cpp cannot read the file.
    """
    start_library()
    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(os.fsencode(path), parameters)
    if not model:
        raise ModelError(f"model file {path} is not a GGUF file that llama.cpp can read")
    return _OwnVocabulary(model)


class _OwnVocabulary(Vocabulary):
    """A vocabulary that is freed with the object that reads it."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)

    def __del__(self) -> None:
        if (model := getattr(self, "_model", None)) is not None:
            self._model = None
            llama_cpp.llama_model_free(model)
