"""The verbs on the searches of the service's queue: list, pause, resume, cancel, delete.

Importing this module does not import the store.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Annotated, Any

from nas import quantities
from nas.commands._options import Help, Store, argument
from nas.commands._values import Answer
from nas.commands.studies import reading
from nas.report.tables import Table

SearchName = Annotated[str, argument("Its id, as nas searches list has it.")]


def listed(
    *,
    state: Annotated[str | None, Help("Only those in a state, such as running.")] = None,
    n: Annotated[int, Help("How many of the newest.", ("--n", "-n"))] = 20,
    store: Store = None,
) -> Answer:
    """List the searches that were sent to the service, the newest first."""
    from nas.store import searches

    check_list(state, n)
    with reading(store) as connection:
        states = [] if state is None else [state]
        found = searches.searches(connection, states=states, limit=n)
    return table([each.to_json() for each in found])


def check_list(state: str | None, n: int) -> None:
    """Refuse a state that no search has, and a number of searches under 1."""
    from nas.store import searches

    searches.check_states(() if state is None else (state,))
    quantities.checked(n, (int,), "-n", 1)


def table(found: Sequence[Mapping[str, Any]]) -> Answer:
    """Return searches, as plain data, as a value that says itself."""
    rows = [
        [each["id"], each["title"], each["state"], each["created"][:16], each["message"] or ""]
        for each in found
    ]
    columns = ["id", "title", "state", "submitted (UTC)", "message"]
    return Answer(list(found), [Table(columns, rows)])


def pause(search: SearchName, *, store: Store = None) -> Answer:
    """Stop a search so that it can go on; its worker lets go soon."""
    return _changed("pause", search, store)


def resume(search: SearchName, *, store: Store = None) -> Answer:
    """Let a paused or failed search go on where it stopped."""
    return _changed("resume", search, store)


def cancel(search: SearchName, *, store: Store = None) -> Answer:
    """End a search for good; its trials stay."""
    return _changed("cancel", search, store)


def delete(search: SearchName, *, store: Store = None) -> Answer:
    """Delete a search that nobody runs, with its study and its files."""
    return _changed("delete", search, store)


def _changed(wish: str, search: str, store: str | None) -> Answer:
    from nas.store import audit, searches
    from nas.store.engine import resolve
    from nas.store.store import Store as Writable

    with reading(store):  # raises where there is no store
        pass
    with closing(Writable.open(resolve(store))) as opened, opened.write() as connection:
        changed = searches.CHANGES[wish](connection, search)
        audit.record(connection, audit.COMMAND_LINE, wish, search)
    return now(changed.to_json())


def now(search: Mapping[str, Any]) -> Answer:
    """Return what a search, as plain data, is now as a value that says itself."""
    return Answer(dict(search), [f"search {search['id']} ({search['title']}) is {search['state']}"])
