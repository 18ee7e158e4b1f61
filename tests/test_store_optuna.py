"""The batched storage is an Optuna storage: Optuna's own tests hold it to the interface."""

import inspect
import math
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.storages import BaseStorage, RDBStorage, get_storage
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import FrozenTrial, TrialState
from store_kit import ready_file

import nas
from nas.store import checking, history
from nas.store.engine import parse
from nas.store.optuna_storage import BatchedStorage


class TestOptunaStorageInterface(StorageTestCase):
    """Every behaviour that Optuna asks of a storage, on a SQLite file."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[BaseStorage]:
        """Return a fresh cached storage."""
        storage = get_storage(BatchedStorage(parse(ready_file(tmp_path))))
        yield storage
        storage.remove_session()
        storage._backend.engine.dispose()  # type: ignore[attr-defined]


def _template() -> FrozenTrial:
    """Return a running trial with something in every field."""
    now = datetime(2026, 1, 2, 3, 4, 5)
    return FrozenTrial(
        number=-1,
        trial_id=-1,
        state=TrialState.COMPLETE,
        value=0.9,
        datetime_start=now,
        datetime_complete=now,
        params={"stage3.kernels": "3.5", "stage3.depth": 2},
        distributions={
            "stage3.kernels": CategoricalDistribution(("3", "3.5")),
            "stage3.depth": IntDistribution(1, 4),
        },
        user_attrs={"notation": "ir_r2_k3.5", "macs": 2_000_000},
        system_attrs={"note": "x"},
        intermediate_values={1: 0.5, 2: float("nan"), 3: float("inf")},
    )


def _rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return everything in Optuna's tables."""
    engine = sa.create_engine(f"sqlite:///{path}")
    tables = sa.inspect(engine).get_table_names()
    with engine.connect() as connection:
        found = {
            table: [tuple(row) for row in connection.exec_driver_sql(f"SELECT * FROM {table}")]
            for table in tables
        }
    engine.dispose()
    return found


def _insert(storage: BatchedStorage, study: optuna.Study, template: FrozenTrial) -> None:
    with storage.engine.begin() as connection:
        storage.insert_trial(connection, study._study_id, template)


def test_rows_equal_those_that_optuna_writes(tmp_path: Path) -> None:
    """A trial made whole leaves the same rows in every table as Optuna's own RDBStorage."""
    for name, make in (("ours", lambda url: BatchedStorage(parse(url))), ("optunas", RDBStorage)):
        storage = make(f"sqlite:///{tmp_path / name}")
        study = optuna.create_study(storage=storage, study_name="s", direction="maximize")
        for _ in range(2):
            if isinstance(storage, BatchedStorage):
                _insert(storage, study, _template())
            else:
                storage.create_new_trial(study._study_id, template_trial=_template())
        storage.remove_session()
        storage.engine.dispose()
    assert _rows(tmp_path / "ours") == _rows(tmp_path / "optunas")


def test_changed_choices_under_a_name_are_refused(tmp_path: Path) -> None:
    """Optuna's rule holds in the batched write too, for a storage that has never seen the name."""
    changed = _template()
    changed.distributions["stage3.kernels"] = CategoricalDistribution(("3.5", "5"))
    url = parse(f"sqlite:///{tmp_path / 'optuna.db'}")
    for template, allowed in ((_template(), True), (changed, False)):
        storage = BatchedStorage(url)
        study = optuna.create_study(storage=storage, study_name="s", load_if_exists=True)
        if allowed:
            _insert(storage, study, template)
        else:
            with pytest.raises(ValueError, match="dynamic value space"):
                _insert(storage, study, template)
        assert len(study.trials) == 1
        storage.remove_session()
        storage.engine.dispose()


def test_the_private_names_of_optuna_are_there() -> None:
    """Optuna's private names that the store leans on exist, and one file of nas imports them."""
    assert {"studies", "trials", "trial_params", "trial_values"} <= set(history.TABLES)
    scripts = ScriptDirectory(str(history.MIGRATIONS))
    assert checking.optuna_head() == scripts.get_current_head()
    assert history.value_of(*history.stored_value(math.inf)) == math.inf
    assert math.isnan(history.step_of(*history.stored_step(math.nan)))
    parameters = ["self", "study_id", "states", "included_trial_ids", "trial_id_greater_than"]
    assert list(inspect.signature(RDBStorage._get_trials).parameters) == parameters
    private = re.compile(r"(from|import) optuna(\.\w+)*?(\._| import _)")
    root = Path(nas.__file__).parent
    importing = [path for path in root.rglob("*.py") if private.search(path.read_text())]
    assert importing == [root / "store" / "history.py"]
