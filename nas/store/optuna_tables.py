"""Optuna's tables of trials, for statements that go past its ORM."""

import sqlalchemy as sa
from optuna.storages._rdb import models

TRIALS: sa.Table = models.TrialModel.__table__
PARAMS: sa.Table = models.TrialParamModel.__table__
ATTRIBUTES: sa.Table = models.TrialUserAttributeModel.__table__
SYSTEM_ATTRIBUTES: sa.Table = models.TrialSystemAttributeModel.__table__
INTERMEDIATE: sa.Table = models.TrialIntermediateValueModel.__table__
VALUES: sa.Table = models.TrialValueModel.__table__
