"""The batched storage is an Optuna storage: Optuna's own tests hold it to the interface."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.storages import BaseStorage, RDBStorage
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import FrozenTrial, TrialState

from nas.store.engine import parse
from nas.store.optuna_storage import BatchedStorage, open_storage


class TestOptunaStorageInterface(StorageTestCase):
    """Every behaviour that Optuna asks of a storage, on a SQLite file."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[BaseStorage]:
        """Return a fresh cached storage."""
        storage = open_storage(parse(f"sqlite:///{tmp_path / 'optuna.db'}"))
        yield storage
        storage._backend.engine.dispose()  # type: ignore[attr-defined]
