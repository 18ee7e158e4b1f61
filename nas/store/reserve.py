"""Reserve a range of ids in a table that others insert into at the same time."""

import sqlalchemy as sa


def reserve(
    engine: sa.Engine, connection: sa.Connection, key: sa.Column[int], span: tuple[int, int]
) -> int:
    """Reserve room for the ids `span` (lowest, highest); return how far up they have to move.

    0 where the table has given out no id as high as the lowest. On SQLite `connection` holds the
    only right to write; on a server a short transaction of its own moves the table's sequence, and
    the ids stay unused where the copy fails.
    """
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


def _distance(highest_given: int, span: tuple[int, int]) -> int:
    lowest, _ = span
    return 0 if lowest > highest_given else highest_given + 1 - lowest
