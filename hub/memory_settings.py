"""Settings of what is remembered of people and their conversations."""

from typing import Annotated

from pydantic import Field

from hub.model_settings import Table


class MemorySettings(Table):
    """Archive, facts and style."""

    archive: bool = True
    """Keep turns in the database, where one's own history can be searched and survives the loss of Redis."""
    archive_days: Annotated[int, Field(ge=0)] = 0
    """Turns older than this leave the archive; 0 keeps them until they are forgotten."""
    cached_conversations: Annotated[int, Field(ge=0)] = 256
    """Conversations whose memory an engine holds in its process, checked against Redis at every turn; 0 holds none."""
    model_facts: bool = False
    """Let the model look for facts about a person in messages in which the rules find none."""
    learn_style: bool = True
    """Learn the language, length and formality of what a person writes."""
