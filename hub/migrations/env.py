"""Runs the migrations on the connection that `hub.database.upgrade` opened."""

from alembic import context

from hub.database import Base

# The metadata is given for its naming convention; the steps themselves name no model.
context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
# The transaction belongs to the caller: all steps are taken, or none.
context.run_migrations()
