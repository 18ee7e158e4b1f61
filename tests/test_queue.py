"""The service's rows: tokens, the queue of searches and its leases, uploads, who did what."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from store_kit import opened, ready
from typer.testing import CliRunner, Result

from nas.cli import app
from nas.errors import Conflict, LostLease, NotFound, QuotaSpent, UserError
from nas.store import audit, plain, searches, tokens, uploads
from nas.store.schema import AUDIT, METADATA, SEARCHES, utc_now
from nas.store.searches import Wanted
from nas.store.store import Store
from nas.store.tokens import Quotas, Token

NEVER = -1.0  # seconds of a lease that is over at once


def token(store: Store, **given: object) -> Token:
    """Make a token with these quotas and return it."""
    with store.write() as connection:
        return tokens.create(connection, "t", ["submit"], quotas=Quotas(**given))[0]  # type: ignore[arg-type]


def submit(store: Store, by: Token, title: str = "s", **given: object) -> str:
    """Submit a search and return its id."""
    with store.write() as connection:
        return searches.add(connection, by, Wanted(title, {}, {}, **given))[0].id  # type: ignore[arg-type]


def take(store: Store, seconds: float = 60.0) -> searches.Search | None:
    """Take the next search."""
    with store.write() as connection:
        return searches.take(connection, "host:1", seconds)


def state(store: Store, search_id: str) -> str:
    """Return a search's state."""
    with store.read() as connection:
        return searches.get(connection, search_id).state


def test_a_token_opens_and_its_secret_is_nowhere(store: Store) -> None:
    """The text that is shown once finds the token; no row holds the secret, and no other text."""
    with store.write() as connection:
        made, text = tokens.create(connection, "laptop", ["submit", "read"])
    secret = text.split("_", 2)[2]
    forged = text[:-1] + ("A" if text[-1] != "A" else "B")
    wrong = (forged, f"nas_{made.id}_", "", "nas", f"x{text}", f"nas_0_{secret}")
    with store.write() as connection:
        assert tokens.find(connection, text) == made
        for each in (*wrong, f"nas_\x00_{secret}", "nas_\ud800_x"):
            assert tokens.find(connection, each) is None
        tables = [list(plain.read(connection, plain.select(t))) for t in METADATA.sorted_tables]
    assert made.scopes == ("read", "submit")
    assert made.owner == made.id
    assert made.id in repr(tables)
    assert secret not in repr(tables)
    assert secret not in repr(made.to_json())


def test_a_token_ends(store: Store) -> None:
    """After its time, and once it is revoked, a token opens nothing."""
    with store.write() as connection:
        _, of_old = tokens.create(connection, "old", ["read"], seconds=0.0)
        gone, of_gone = tokens.create(connection, "gone", ["admin"])
        assert tokens.find(connection, of_gone) == gone
        assert tokens.revoke(connection, gone.id).state == "revoked"
        assert tokens.find(connection, of_old) is None
        assert tokens.find(connection, of_gone) is None
        assert [each.state for each in tokens.tokens(connection)] == ["expired", "revoked"]
        with pytest.raises(NotFound, match="No token named 'x'"):
            tokens.revoke(connection, "x")
        with pytest.raises(UserError, match=r"No scope named 'write'.*admin, read, submit"):
            tokens.create(connection, "x", ["write"])


def test_priority_then_fair_share_then_age(store: Store) -> None:
    """The owner who has fewer running comes first, whoever sent more; priority wins over both."""
    many, few = token(store, running=3), token(store, running=3)
    a1, a2, a3 = (submit(store, many, f"a{n}") for n in range(3))
    b1 = submit(store, few, "b1")
    b2 = submit(store, few, "b2", priority=1)
    order = [taken.id for taken in (take(store) for _ in range(5)) if taken]
    assert order == [b2, a1, a2, b1, a3]
    assert take(store) is None


def test_no_owner_runs_more_than_the_quota(store: Store) -> None:
    """The next search of an owner waits for an end; a search too many is refused."""
    mine = token(store, running=1, queued=2)
    first, _ = submit(store, mine), submit(store, mine)
    held = take(store)
    assert held is not None
    assert held.id == first
    assert take(store) is None
    submit(store, mine)
    with pytest.raises(QuotaSpent, match=r"2 searches wait, .* may have 2"):
        submit(store, mine)
    with store.write() as connection:
        searches.finish(connection, held, "succeeded")
    assert take(store) is not None


def test_a_client_s_key_submits_once(store: Store) -> None:
    """The same key gives the same search, another search under it is refused, others' keys are."""
    mine, other = token(store), token(store)
    wanted = Wanted("s", {"trials": 3}, {}, client_key="k")
    with store.write() as connection:
        first, is_new = searches.add(connection, mine, wanted)
        again, is_again_new = searches.add(connection, mine, wanted)
        theirs, _ = searches.add(connection, other, wanted)
        with pytest.raises(Conflict, match="'k' was sent before with another search"):
            searches.add(connection, mine, wanted._replace(asked={"trials": 4}))
    assert (is_new, is_again_new, again.id) == (True, False, first.id)
    assert theirs.id != first.id


def test_a_dead_worker_s_search_is_taken_over(store: Store) -> None:
    """By the next attempt, and the dead one's writes are refused; three deaths end it."""
    submit(store, token(store))
    dead = take(store, NEVER)
    assert dead is not None
    heir = take(store, NEVER)
    assert heir is not None
    assert (heir.id, heir.attempt, heir.deaths) == (dead.id, 2, 1)
    with store.write() as connection:
        for write in (
            lambda: searches.renew(connection, dead, 60.0, 1.0),
            lambda: searches.finish(connection, dead, "failed"),
            lambda: searches.release(connection, dead),
        ):
            with pytest.raises(LostLease, match="attempt 1 of host:1 is over"):
                write()
        assert searches.renew(connection, heir, NEVER, 2.5).seconds == 2.5
    assert take(store, NEVER) is not None
    assert take(store) is None
    with store.read() as connection:
        ended = searches.get(connection, dead.id)
    assert (ended.state, ended.message) == ("failed", "3 workers died over it.")


def test_a_worker_that_comes_back_is_not_buried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease ran out, and it ends or renews while another looks for the dead: that holds.

    On SQLite the other would wait for the end of the look.
    """
    with ready("postgresql", tmp_path) as url, opened(url) as store:
        owner, let_go = token(store, running=2), searches.let_go
        ended, renewed = (submit(store, owner) for _ in range(2))
        held = {each.id: each for each in (take(store), take(store)) if each is not None}
        with store.write() as connection:
            connection.execute(SEARCHES.update().values(expires_at=0.0))

        def late(search: searches.Search, **how: Any) -> Any:
            with store.write() as connection:
                if search.id == ended:
                    searches.finish(connection, held[ended], "succeeded")
                else:
                    searches.renew(connection, held[renewed], 60.0, 0.0)
            return let_go(search, **how)

        monkeypatch.setattr(searches, "let_go", late)
        assert take(store) is None
        assert [state(store, each) for each in (ended, renewed)] == ["succeeded", "running"]


def test_a_search_that_failed_waits_again_within_the_quota(store: Store) -> None:
    """Resumed it counts as one that is submitted; a paused one has counted all the time."""
    mine = token(store, queued=1)
    first = submit(store, mine)
    held = take(store)
    assert held is not None
    with store.write() as connection:
        searches.finish(connection, held, "failed")
    second = submit(store, mine)
    with store.write() as connection:
        with pytest.raises(QuotaSpent, match="1 searches wait"):
            searches.resume(connection, first)
        searches.pause(connection, second)
        assert searches.resume(connection, second).state == "queued"


def test_the_key_of_a_deleted_search_is_free(store: Store) -> None:
    """The same submission is a new search at once, also while the old one's files go."""
    mine, wanted = token(store), Wanted("s", {"trials": 3}, {}, client_key="k")
    with store.write() as connection:
        first, _ = searches.add(connection, mine, wanted)
        searches.cancel(connection, first.id)
        searches.begin_to_delete(connection, first.id)
        second, is_new = searches.add(connection, mine, wanted)
    assert is_new
    assert second.id != first.id


@pytest.mark.parametrize(
    ("wish", "meanwhile", "after"),
    [("pause", "pausing", "paused"), ("cancel", "cancelling", "cancelled")],
)
@pytest.mark.parametrize("died", [False, True])
def test_a_running_search_is_stopped_by_its_worker(
    store: Store, wish: str, meanwhile: str, after: str, died: bool
) -> None:
    """The worker sees the wish when it renews; one that dies meanwhile has stopped too."""
    submit(store, token(store))
    held = take(store, NEVER if died else 60.0)
    assert held is not None
    with store.write() as connection:
        assert getattr(searches, wish)(connection, held.id).state == meanwhile
        if not died:
            assert searches.renew(connection, held, 60.0, 0.0).state == meanwhile
            assert searches.release(connection, held).state == after
    assert take(store) is None
    assert state(store, held.id) == after


def test_what_is_asked_of_a_search_depends_on_its_state(store: Store) -> None:
    """Waiting ones are paused, resumed and cancelled at once; ended ones are not."""
    search = submit(store, token(store))
    with store.write() as connection:
        assert searches.pause(connection, search).state == "paused"
        assert searches.take(connection, "host:1", 60.0) is None
        assert searches.resume(connection, search).state == "queued"
        assert searches.cancel(connection, search).state == "cancelled"
        for wish in (searches.pause, searches.resume):
            with pytest.raises(Conflict, match=f"Search {search} is cancelled: only one that"):
                wish(connection, search)


def test_a_search_is_deleted_when_nobody_runs_it(store: Store) -> None:
    """It is hidden at once, and its row goes last."""
    search = submit(store, token(store))
    take(store)
    with store.write() as connection:
        with pytest.raises(Conflict, match="is running: cancel it first"):
            searches.begin_to_delete(connection, search)
        held = searches.get(connection, search)
        searches.finish(connection, held, "succeeded")
        searches.begin_to_delete(connection, search)
        with pytest.raises(NotFound):
            searches.get(connection, search)
        assert [each.id for each in searches.to_delete(connection)] == [search]
        searches.forget(connection, search)
        assert connection.execute(sa.select(SEARCHES)).all() == []


def test_others_searches_are_not_there(store: Store) -> None:
    """Reading, changing and listing see an owner's own; without an owner, all, in pages."""
    mine, other = token(store), token(store)
    ids = [submit(store, mine, f"s{n}") for n in range(5)]
    theirs = submit(store, other)
    with store.write() as connection:
        for act in (searches.get, searches.pause, searches.resume, searches.cancel,
                    searches.begin_to_delete):  # fmt: skip
            with pytest.raises(NotFound, match="No search"):
                act(connection, theirs, mine.owner)
        with pytest.raises(NotFound):
            searches.get(connection, "a\x00b")
        first = searches.searches(connection, mine.owner, limit=2)
        rest = searches.searches(connection, mine.owner, after=first[-1].id)
        assert [each.id for each in (*first, *rest)] == ids[::-1]
        assert len(searches.searches(connection)) == 6
        assert searches.searches(connection, states=["paused"]) == []


def test_several_takers_take_each_search_once(store: Store) -> None:
    """Eight threads that take at once get eight searches, and no owner gets above the quota."""
    owners = [token(store, running=2) for _ in range(3)]
    for owner in owners:
        for _ in range(4):
            submit(store, owner)
    with ThreadPoolExecutor(8) as pool:
        taken = [each for each in pool.map(lambda _: take(store), range(12)) if each]
    assert len({each.id for each in taken}) == len(taken) == 6
    assert sorted(each.owner for each in taken) == sorted(2 * [owner.owner for owner in owners])


def test_uploads_are_counted_for_each_owner(store: Store) -> None:
    """The same content is one file of each owner who sent it; more than the quota is refused."""
    mine, other = token(store, upload_bytes=10), token(store, upload_bytes=10)
    content = ("a" * 64, 8)
    with store.write() as connection:
        kept = uploads.add(connection, mine, "x.npz", content, facts={"n": 1}, seconds=60.0)
        again = uploads.add(connection, mine, "y.npz", content, facts={}, seconds=90.0)
        theirs = uploads.add(connection, other, "x.npz", content, facts={}, seconds=60.0)
        assert (again.id, again.name, again.expires > kept.expires) == (kept.id, "x.npz", True)
        with pytest.raises(QuotaSpent, match="8 bytes of uploads lie here, and 3 more"):
            uploads.add(connection, mine, "z.npz", ("b" * 64, 3), facts={}, seconds=60.0)
        with pytest.raises(NotFound):
            uploads.get(connection, theirs.id, mine.owner)
        assert uploads.delete(connection, kept.id, mine.owner) is None
        assert uploads.delete(connection, theirs.id) == "a" * 64
        uploads.add(connection, mine, "x.npz", content, facts={}, seconds=0.0)
        assert uploads.uploads(connection) == []
        assert (uploads.expire(connection), uploads.digests(connection)) == (1, set())


def test_audit_hides_secrets(store: Store) -> None:
    """Each deed is a row, the newest first, without credentials."""
    with store.write() as connection:
        audit.record(connection, "t1", "submit", "s1")
        audit.record(connection, "t2", "upload", "https://h/x?token=secret\x00", "refused")
        newest, first = audit.entries(connection, limit=5)
        assert audit.entries(connection, limit=5, before=newest["id"]) == [first]
    assert (first["who"], first["action"], first["subject"]) == ("t1", "submit", "s1")
    assert "secret" not in newest["subject"]


def test_audit_records_grow_old(store: Store) -> None:
    """Records that are older than the operator's limit go; newer ones stay."""
    with store.write() as connection:
        for who in ("old", "new"):
            audit.record(connection, who, "submit")
        yesterday = utc_now() - timedelta(days=1)
        old = AUDIT.update().where(AUDIT.c.who == "old").values(created=yesterday)
        connection.execute(old)
        assert audit.expire(connection, 2 * 86400.0) == 0
        assert audit.expire(connection, 3600.0) == 1
        assert [each["who"] for each in audit.entries(connection, limit=5)] == ["new"]


def nas(url: str, *words: str) -> Result:
    """Run a command on a store."""
    return CliRunner().invoke(app, [*words, "--store", url])


def test_tokens_are_made_listed_and_revoked_on_the_command_line(url: str) -> None:
    """The token is in the answer of `create` alone; mistakes are told; each deed is a row."""
    given = ("--scopes", "submit,read", "--expires", "30d", "--running", "4", "--uploads", "1GB")
    made = nas(url, "token", "create", "--name", "laptop", *given, "--json")
    answer = json.loads(made.stdout)
    text = answer["token"]
    assert (answer["scopes"], answer["running"]) == (["read", "submit"], 4)
    assert answer["upload_bytes"] == 2**30
    expires = datetime.fromisoformat(answer["expires"]) - datetime.fromisoformat(answer["created"])
    assert expires.days == 30
    with opened(url) as store, store.read() as connection:
        found = tokens.find(connection, text)
        assert found is not None
        assert found.name == "laptop"
    listed = nas(url, "token", "list").stdout
    assert "laptop" in listed
    assert text.split("_")[2] not in listed
    revoked = nas(url, "token", "revoke", found.id)
    assert revoked.stdout == f"{found.id} (laptop) is revoked\n"
    with opened(url) as store, store.read() as connection:
        assert tokens.find(connection, text) is None
        deeds = [(each["action"], each["subject"]) for each in audit.entries(connection, limit=9)]
    assert ("revoke token", found.id) in deeds
    for words, told in (
        (("create", "--name", "x", "--scopes", "write"), "No scope named 'write'."),
        (("create", "--name", ""), "--name is a name of 1 to 64 printable characters"),
        (("create", "--name", "x", "--running", "0"), "--running is a whole number of at least 1"),
        (("create", "--name", "x", "--expires", "soon"), "--expires is a duration"),
        (("revoke", "none"), "No token named 'none'."),
    ):
        refused = nas(url, "token", *words)
        assert refused.exit_code == 2
        assert f"nas: {told}" in refused.stderr
