"""Every error the hub raises on purpose; the class says what the caller can do."""

from collections.abc import Iterable
from typing import Literal


class HubError(Exception):
    """Base of all errors with a text meant for a person."""


class SettingsError(HubError):
    """A setting is wrong; the text names its path and what was expected."""


class ChangedMeanwhile(HubError):
    """Something is not what it was any more when its author looked at it."""


class BusError(HubError):
    """Redis could not be reached or refused a command; repeating later is safe."""


class BusFull(BusError):
    """The backlog is at its limit; ask the peer to come back later."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"the hub is busy; try again in {retry_after_s:.0f} s")
        self.retry_after_s = retry_after_s


class LeaseLost(BusError):
    """Another worker owns the conversation by now; whatever this one still does must not be shown."""


class TurnCancelled(HubError):
    """A message was cancelled while it was worked on; its result must not be shown."""


class UnreadableEntry(HubError):
    """An entry of a stream holds no message; no later attempt can change that."""


class ConnectorError(HubError):
    """A channel failed in a way that a later attempt may cure."""


class DeliveryRefused(ConnectorError):
    """The channel refused this reply for good; repeating cannot help."""


class RetryLater(ConnectorError):
    """The channel asks to wait; the reply stays first in line for its destination."""

    def __init__(self, retry_after_s: float, reason: str, *, unclear: bool = False) -> None:
        super().__init__(f"{reason}; next attempt in {retry_after_s:.0f} s")
        self.retry_after_s = retry_after_s
        self.reason = reason
        self.unclear = unclear
        """The request may have been carried out although no answer came."""


class ModelError(HubError):
    """A model could not be loaded or failed while it generated."""


class UnknownModel(ModelError):
    """There is no model or role of this name; `known` are those there are."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.known = tuple(known)
        super().__init__(f"there is no model {name!r}; there are: {', '.join(self.known)}")


class ModelUnavailable(ModelError):
    """The model cannot be loaded for now; asking again at once does not help."""


class ContextWindowExceeded(ModelError):
    """The prompt does not fit; `limit` and `needed` are in tokens."""

    def __init__(self, limit: int, needed: int) -> None:
        super().__init__(f"the prompt needs {needed} tokens, the model holds {limit}")
        self.limit = limit
        self.needed = needed


class ModelBusy(ModelError):
    """So much waits for the model already that another request would wait too long; a later attempt may not."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"the model is busy; try again in {retry_after_s:.0f} s")
        self.retry_after_s = retry_after_s


class OptionRefused(ModelError):
    """The model cannot do what an option asks; another option or model can."""


class ProvisionError(HubError):
    """A model could not be fetched, or what was fetched is not what it should be; nothing of it is used."""


class KnowledgeError(HubError):
    """A document or the index could not be read."""


FileProblem = Literal["unsupported", "too_large", "encrypted", "damaged", "empty", "unreachable"]


def problem_of(word: object) -> FileProblem:
    """Read why a file gives no text, as a process that reads files tells it."""
    match word:
        case "unsupported" | "too_large" | "encrypted" | "empty":
            return word
    return "damaged"


class DocumentUnreadable(KnowledgeError):
    """A file gives no text; `problem` says why in a word that programs compare."""

    def __init__(self, text: str, problem: FileProblem = "damaged") -> None:
        super().__init__(text)
        self.problem = problem
