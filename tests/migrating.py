"""Takes a database to a certain migration, as an upgrade or a way back does."""

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine

from hub.database import MIGRATIONS


def migrate(engine: Engine, revision: str) -> None:
    """Take a database up or down to a revision; `base` is before the first."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        current = MigrationContext.configure(connection).get_current_revision() or ""
        config.attributes["connection"] = connection
        (command.downgrade if revision == "base" or revision < current else command.upgrade)(config, revision)
