"""Studies deleted in Optuna's dashboard: their ids come back, what they measured stays."""

import pytest
import sqlalchemy as sa
from store_kit import CONFIG, delete_study, opened, point, proposal, spent, trials

from nas.errors import LostLease
from nas.store import queries
from nas.store.records import Lease
from nas.store.schema import ARTIFACTS
from nas.store.trials import Trials


def leased(mine: Trials, name: str) -> Lease:
    """Start a proposal that is to be trained."""
    lease = mine.start(proposal(name)).lease
    assert lease is not None
    return lease


def deleted_study(url: str) -> None:
    """Leave behind what a deleted study does: finished and running trials, a look, a file."""
    with opened(url) as store:
        mine = trials(store)
        for name in "ab":
            lease = leased(mine, name)
            mine.report(lease, point())
            mine.finish(lease, "complete", metrics={"accuracy": 0.5})
        store.look_at_test(mine.info.id, lease.evaluation_id, {"accuracy": 0.4})
        store.add_artifact(mine.info.id, "code", "best/model.py")
        mine.release(leased(mine, "c"))
    delete_study(url, "s")


@pytest.mark.parametrize("name", ["s", "other"])
def test_the_next_study_is_its_own(name: str, url: str) -> None:
    """Under the same name or another, it owes nothing, adopts nothing and reuses what there is."""
    deleted_study(url)
    with opened(url) as store:
        mine = trials(store, study=name)
        assert (spent(mine), mine.adopt(), mine.repair()) == (0, None, 0)
        reused = [mine.start(proposal(each), budget=0) for each in "ab"]
        again = mine.start(proposal("c"), budget=2)
        assert [each.outcome for each in (*reused, again)] == ["complete", "complete", "run"]
        assert again.lease is not None
        assert again.evaluation is not None
        assert (again.number, again.lease.attempt, again.evaluation.deaths) == (2, 2, 0)
        mine.finish(again.lease, "complete", metrics={"accuracy": 0.6})
        mine.finish(leased(mine, "d"), "complete", metrics={"accuracy": 0.7})
        with store.read() as connection:
            assert [each.name for each in queries.studies(connection)] == [name]
            assert queries.counts(connection, mine.info.id) == queries.Counts(complete=2, reused=2)
            assert queries.test_looks(connection, mine.info.id) == []
            assert connection.execute(sa.select(ARTIFACTS)).all() == []
            told = queries.trials(connection, mine.info.id)
        assert [trial.architecture_id for trial in told] == list("abcd")
        assert (told[0].reused_from, told[0].score) == ("a deleted study", 0.5)
        assert [trial.value for trial in mine.optuna_study().trials] == [0.5, 0.5, 0.6, 0.7]
        assert spent(mine) == 2


def test_a_worker_of_a_deleted_study_is_refused(url: str) -> None:
    """Its evaluation failed when the deletion was seen, so its lease is over."""
    with opened(url) as store:
        mine = trials(store)
        lease = leased(mine, "a")
        delete_study(url, "s")
        store.create_study("other", CONFIG)
        with pytest.raises(LostLease):
            mine.report(lease, point())
        with store.read() as connection:
            found = queries.evaluation(connection, lease.evaluation_id)
    assert (found.study, found.number, found.state) == (None, None, "failed")
    assert found.reason == "its study was deleted"


def test_a_trial_that_is_gone_is_forgotten_by_repair(url: str) -> None:
    """What a study's lost trial measured is reused, and no longer paid for."""
    with opened(url) as store:
        mine = trials(store)
        mine.finish(leased(mine, "a"), "complete", metrics={"accuracy": 0.5})
        mine.finish(leased(mine, "b"), "complete", metrics={"accuracy": 0.6})
        with store.write() as connection:
            for table in ("trial_params", "trial_user_attributes", "trial_values", "trials"):
                connection.execute(sa.text(f"DELETE FROM {table} WHERE trial_id = 2"))
        assert (mine.repair(), spent(mine)) == (0, 1)
    with opened(url) as store:
        assert trials(store).start(proposal("b"), budget=0).outcome == "complete"


def test_other_studies_are_left_alone(url: str) -> None:
    """Deleting one study takes nothing from the others of the store."""
    with opened(url) as store:
        kept = trials(store, study="kept")
        kept.finish(leased(kept, "z"), "complete", metrics={"accuracy": 0.5})
        running = leased(kept, "y")
    deleted_study(url)
    with opened(url) as store:
        kept = trials(store, study="kept")
        kept.report(running, point())
        assert (kept.repair(), spent(kept)) == (0, 2)
        assert kept.start(proposal("a")).outcome == "complete"
