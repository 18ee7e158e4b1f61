"""What changes of a study when it moves to another store: the ids in its rows and in their text."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from nas.store.plain import Row

_OF_TRIAL = re.compile(r"(dashboard:|dashboard:artifacts:|preference:skip_trial:)(\d+)(:.*|)")
_PARENTS = re.compile(r"\w+:parent:\d+")  # of Optuna's genetic samplers: a list of trials' ids


@dataclass(frozen=True)
class Renumbering:
    """New ids for old ones: studies and evaluations one by one, trials by one distance.

    `names` gives the new names of the studies that get another.
    """

    studies: Mapping[int, int]
    trials: int
    evaluations: Mapping[int, int]
    names: Mapping[str, str]

    def study_attribute(self, row: Row) -> Row:
        """Renumber an attribute of a study: the dashboard's notes have the trial in their key."""
        key, value = row["key"], row["value_json"]
        found = _OF_TRIAL.fullmatch(key)
        if found is not None:
            key = f"{found[1]}{int(found[2]) + self.trials}{found[3]}"
        elif _PARENTS.fullmatch(key):
            value = json.dumps([trial + self.trials for trial in json.loads(value)])
        return row | {"study_id": self.studies[row["study_id"]], "key": key, "value_json": value}

    def trial_attribute(self, row: Row) -> Row:
        """Renumber a trial's user attribute: two of ours say which evaluation, which origin."""
        value = row["value_json"]
        if row["key"] == "evaluation":
            old = json.loads(value)
            value = json.dumps(self.evaluations.get(old, old))
        elif row["key"] == "reused_from":
            value = json.dumps(self.origin(json.loads(value)))
        return self.of_trial(row) | {"value_json": value}

    def of_trial(self, row: Row) -> Row:
        """Renumber a row that belongs to a trial and to nothing else."""
        return row | {"trial_id": row["trial_id"] + self.trials}

    def of_study(self, row: Row) -> Row:
        """Renumber a row that belongs to a study and to nothing else."""
        return row | {"study_id": self.studies[row["study_id"]]}

    def origin(self, text: str | None) -> str | None:
        """Return STUDY/NUMBER with the study's new name."""
        if text is None:
            return None
        study, slash, number = text.rpartition("/")
        return f"{self.names.get(study, study)}{slash}{number}"
