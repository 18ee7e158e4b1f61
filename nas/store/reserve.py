"""Reserve a range of ids in a table that others insert into at the same time."""

import sqlalchemy as sa

from nas.store import mariadb


def reserve(
    engine: sa.Engine, connection: sa.Connection, key: sa.Column[int], span: tuple[int, int]
) -> int:
    """Reserve room for the ids `span` (lowest, highest); return how far up they have to move.

    0 where the table has given out no id as high as the lowest. On SQLite `connection` holds the
    only right to write; on a server a short transaction of its own moves the table's sequence, and
    the ids stay unused where the copy fails. `connection` has not touched the table before.
    """
    if connection.dialect.name == mariadb.NAME:
        return _reserve_counter(engine, key, span)
    if connection.dialect.name != "postgresql":
        return _distance(connection.execute(sa.select(sa.func.max(key))).scalar() or 0, span)
    name = key.table.name
    sequence = sa.func.pg_get_serial_sequence(name, key.name)
    with engine.begin() as short:
        short.exec_driver_sql(f"LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE")
        owner = short.execute(sa.select(sequence)).scalar_one()
        last = f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {owner}"
        given = short.exec_driver_sql(last).scalar_one()
        taken = short.execute(sa.select(sa.func.max(key))).scalar() or 0
        move = _distance(max(given, taken), span)
        highest = max(given, taken, span[1] + move)
        short.execute(sa.select(sa.func.setval(owner, highest)))
    return move


def _reserve_counter(engine: sa.Engine, key: sa.Column[int], span: tuple[int, int]) -> int:
    """Reserve room on MariaDB, where a table counts its ids."""
    name = key.table.name
    counter = sa.text(
        "SELECT auto_increment - 1 FROM information_schema.tables"
        " WHERE table_schema = database() AND table_name = :name"
    )
    with engine.begin() as short:
        short.exec_driver_sql(f"LOCK TABLES {name} WRITE")
        try:
            taken = short.execute(sa.select(sa.func.max(key))).scalar() or 0
            given = max(taken, short.execute(counter, {"name": name}).scalar() or 0)
            move = _distance(given, span)
            following = max(given, span[1] + move) + 1
            short.exec_driver_sql(f"ALTER TABLE {name} AUTO_INCREMENT = {following}")
        finally:
            short.exec_driver_sql("UNLOCK TABLES")
    return move


def _distance(highest_given: int, span: tuple[int, int]) -> int:
    lowest, _ = span
    return 0 if lowest > highest_given else highest_given + 1 - lowest
