"""Our indexes on Optuna's tables: its own serve a trial's id, ours a study's states and values.

An index changes nothing that Optuna reads or writes. Its tables are made after ours in a new store,
so these are made when the store is opened, where they are missing.
"""

import sqlalchemy as sa

_COLUMNS = {
    ("trials", "ix_nas_optuna_trials_state"): "study_id, state",
    ("trial_values", "ix_nas_optuna_trial_values_value"): "value",
}


def make_on_optunas(connection: sa.Connection) -> None:
    """Make the indexes that are missing, on an open transaction."""
    for (table, name), columns in _COLUMNS.items():
        if name not in _names(connection, table):  # asked first: making one waits for all writers
            connection.execute(sa.text(f"CREATE INDEX IF NOT EXISTS {name} ON {table} ({columns})"))


def drop_on_optunas(connection: sa.Connection) -> None:
    """Drop the indexes."""
    for table, name in _COLUMNS:
        of = f" ON {table}" if connection.dialect.name == "mariadb" else ""
        connection.execute(sa.text(f"DROP INDEX IF EXISTS {name}{of}"))


def _names(connection: sa.Connection, table: str) -> set[str | None]:
    return {index["name"] for index in sa.inspect(connection).get_indexes(table)}
