"""Finds what a message tells about its person: by rules, and by the model where the settings let it look."""

from collections.abc import Mapping

import structlog

from engine.answers import Recollection
from engine.memory.echoes import without_echoes
from engine.memory.facts import told_facts
from engine.memory.model_facts import may_tell, model_facts
from engine.models.base import ModelProvider
from engine.requesters import requester_of
from hub.errors import ModelError
from hub.memory_settings import MemorySettings
from hub.messages import FactChange, InboundMessage
from hub.settings import EngineSettings, TierSettings

log = structlog.get_logger(__name__)


class FactFinder:
    """Reads messages; what only comes back to a person is no news about them."""

    def __init__(
        self,
        models: ModelProvider,
        settings: MemorySettings,
        *,
        engine: EngineSettings,
        tiers: Mapping[str, TierSettings],
    ) -> None:
        self._models = models
        self._settings = settings
        self._engine = engine
        self._tiers = tiers

    async def changes(
        self, message: InboundMessage, recollection: Recollection, model: str
    ) -> dict[str, FactChange]:
        """Return what is newly known of a person, by key, each with the words it rests on.

        Args:
            recollection: its turns, all that are kept, tell what the assistant has said.
            model: name of the one that looks where the rules find nothing.

        Raises: BusError: Redis is away.
        """
        if message.is_forwarded:
            return {}
        told = told_facts(message.text)
        if not told and self._settings.model_facts and may_tell(message.text):
            requester = requester_of(message, tiers=self._tiers, channels_weight=self._engine.channels_weight)
            try:
                async with self._models.use(model) as opened:
                    told = await model_facts(opened, message.text, requester)
            except ModelError as error:
                # A fact that was missed can be told again; the answer does not hang on it.
                log.warning("facts_not_looked_for", model=model, error=type(error).__name__)
        if not told:
            return {}
        turns = await recollection.all_turns() if recollection.all_turns else recollection.turns
        return {
            key: FactChange(key=key, text=fact.text, quote=fact.quote, found_by=fact.found_by)
            for key, fact in without_echoes(told, turns, [message.quoted]).items()
        }
