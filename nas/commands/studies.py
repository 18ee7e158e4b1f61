"""The verbs that read studies: status, top, front, rescore, show. They import no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas import quantities
from nas.errors import StoreError, UserError
from nas.files import check_picture, writing
from nas.store import queries
from nas.store.engine import resolve
from nas.store.records import CurvePoint
from nas.study.progress import Progress, progress

if TYPE_CHECKING:
    from nas.study.ranking import Front, Rescored


def status(study: str | None = None, *, store: str | None = None) -> list[Progress]:
    """Return how far one study is, or all of them."""
    with queries.connect(resolve(store)) as connection:
        infos = [queries.study(connection, study)] if study else queries.studies(connection)
        return [progress(connection, info) for info in infos]


def top(
    study: str | None = None, *, store: str | None = None, n: int = 5
) -> list[queries.TrialInfo]:
    """Return the n best trials of different architectures of a study, by default the newest."""
    if n < 1:
        raise UserError(f"The number of trials to show is at least 1, not {n}.")
    with queries.connect(resolve(store)) as connection:
        return queries.best(connection, study_of(connection, study).id, n)


def front(
    study: str | None = None,
    *,
    cost: str = "macs",
    out: str | None = None,
    store: str | None = None,
) -> "Front":
    """Rebuild a study's front of metric and cost, macs or params, from all its trials.

    With `out`, an .svg or .png file, it is drawn there.
    """
    from nas.study import ranking

    if out is not None:
        check_picture(Path(out))
    with queries.connect(resolve(store)) as connection:
        found = ranking.front(connection, study_of(connection, study), cost)
    if out is not None:
        with writing(Path(out)):
            found.draw(Path(out))
    return found


def rescore(
    study: str | None = None,
    *,
    target_flops: str | float,
    w: float | None = None,
    objective: str | None = None,
    store: str | None = None,
) -> "Rescored":
    """Rank a study's complete trials by another objective, soft or hard; nothing is trained.

    What is left out is the study's own.
    """
    from nas.study import ranking

    target = quantities.count(target_flops, "--target-flops")
    with queries.connect(resolve(store)) as connection:
        return ranking.rescore(connection, study_of(connection, study), target, objective, w)


@dataclass(frozen=True)
class TrialView:
    """One trial with its architecture and its learning curve."""

    trial: queries.TrialInfo
    architecture: Mapping[str, Any]
    curve: list[CurvePoint]
    metric: str


def show(
    study: str | None = None, number: int | None = None, *, store: str | None = None
) -> TrialView:
    """Return one trial of a study, by default the best of the newest."""
    with queries.connect(resolve(store)) as connection:
        info = study_of(connection, study)
        trial = trial_of(connection, info, number)
        evaluation = queries.evaluation(connection, trial.evaluation_id)
        curve = queries.curve(connection, trial.evaluation_id)
    return TrialView(trial, evaluation.architecture_json, curve, info.config["recipe"]["metric"])


def newest(store: str | None = None) -> str:
    """Return the name of the newest study."""
    with queries.connect(resolve(store)) as connection:
        return study_of(connection, None).name


def study_of(connection: Any, name: str | None) -> queries.StudyInfo:
    """Return the study of this name, or the newest; raise StoreError where there is none."""
    if name is not None:
        return queries.study(connection, name)
    studies = queries.studies(connection)
    if not studies:
        raise StoreError("The store has no study yet; nas search makes one.")
    return studies[-1]


def trial_of(connection: Any, info: queries.StudyInfo, number: int | None) -> queries.TrialInfo:
    """Return the trial of this number, or the best; raise StoreError where there is none."""
    if number is not None:
        return queries.trial(connection, info.id, number)
    best = queries.best(connection, info.id, 1)
    if not best:
        raise StoreError(f"Study {info.name!r} has no complete trial yet; give a trial's number.")
    return best[0]
