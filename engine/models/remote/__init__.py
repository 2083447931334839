"""Chat models that another server runs, asked by the OpenAI-compatible protocol."""

from engine.models.remote.model import RemoteChatModel

__all__ = ["RemoteChatModel"]
