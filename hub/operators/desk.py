"""Everything about operators in one place, for those who put a process together."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from hub.operator_settings import OperatorSettings
from hub.operators.passwords import Passwords
from hub.operators.sessions import Sessions
from hub.operators.store import OperatorStore


@dataclass(frozen=True, slots=True)
class Operators:
    """Accounts, sessions, passwords."""

    store: OperatorStore
    sessions: Sessions
    passwords: Passwords
    settings: OperatorSettings

    @classmethod
    def on(cls, engine: AsyncEngine, settings: OperatorSettings) -> "Operators":
        """Put them together; `close` ends the threads that check passwords.

        Args:
            engine: the database, with its tables up to date.
        """
        passwords = Passwords(settings)
        store, sessions = OperatorStore(engine, passwords), Sessions(engine, passwords, settings)
        return cls(store, sessions, passwords, settings)

    def close(self) -> None:
        """End the threads."""
        self.passwords.close()
