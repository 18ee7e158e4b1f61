"""Alembic's entry point: runs the migrations on the connection that `migrate.upgrade` opened."""

from alembic import context

from nas.store.migrate import is_ours
from nas.store.models import VERSION_TABLE, Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    include_name=is_ours,
    render_as_batch=True,  # SQLite can't alter most things in place
)
with context.begin_transaction():
    context.run_migrations()
