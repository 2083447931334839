"""Marks by which chat templates tell who speaks, made harmless in texts for models whose tokens are not ours to choose.

A local model's texts are turned into tokens here, and none becomes a special one. A remote server puts messages into
its own template and reads all of it alike: a mark in a text would speak with the template's voice.
"""

import re

_NAMES = "s|bos|eos|pad|unk|mask|think|tool_call|tool_response|tools|start_of_turn|end_of_turn|start_of_image|SYS|SPECIAL_\\d+"
_MARK = re.compile(
    r"<(?=\|[^<>|\n]{1,48}\|>)"  # ChatML, Llama 3, Phi, GLM, gpt-oss
    r"|<(?=[|｜][^<>\n]{1,48}[|｜]>)"  # DeepSeek
    rf"|<(?=/?(?:{_NAMES})>)"  # Llama 2, Gemma, Mistral, Qwen
    r"|\[(?=/?(?:INST|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|SYSTEM_PROMPT|THINK|IMG)\])"  # Mistral
    r"|<(?=<(?:SYS|/SYS)>>)",
)


def without_markup(text: str) -> str:
    """Put a blank into every mark of a known family of templates, so that it is read as text."""
    return _MARK.sub(lambda mark: f"{mark.group()} ", text)
