"""What a study learns from: other studies of its store, and which of their trials; priors.

They are chosen when the study begins, and kept with it: so a study that is resumed proposes as if
it had not been interrupted, whatever became of the others.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa

from nas.architecture import Value
from nas.config import Config
from nas.errors import StoreAway, StoreError, UserError, unknown
from nas.samplers._acquisition import capped
from nas.samplers._lesson import Lesson
from nas.samplers._transfer import shared
from nas.store import queries
from nas.store.queries import StudyInfo
from nas.study import priors
from nas.study.options import MOST_LESSONS, NOTHING
from nas.training.metrics import gain

FEWEST = 8  # complete trials that make a lesson
KEPT = 100  # trials of a study: the best half, and some of the others
CLOSE = 0.5  # of the space's parameters: a study with fewer in common is no lesson unless asked for


class RelatedStudy(NamedTuple):
    """A study that may be learnt from: how many parameters it shares, and its complete trials."""

    info: StudyInfo
    common: int
    trials: Sequence[queries.ScoredTrial]


def with_lessons(config: Config, url: str, name: str, stored: StudyInfo | None) -> Config:
    """Return the configuration of the study `name` with the lessons that it has, or begins with.

    Raises UserError where a study that was asked for teaches nothing.
    """
    if stored is not None:
        return replace(config, lessons=Config.from_json(stored.config).lessons)
    if config.sampler != "nas" or config.learn_from == (NOTHING,):
        return config
    shipped = tuple(_priors(config))
    asked = [each for each in config.learn_from if not each.startswith(priors.PREFIX)]
    if shipped and not asked:
        return replace(config, lessons=shipped)
    try:
        with queries.connect(url) as connection:
            sources = list(_sources(connection, _others(connection, name), asked, config))
            studied = (lesson_of(connection, one.info, one.trials) for one in sources)
            teaching = [lesson for lesson in studied if len(lesson.metrics) > 1]
            return replace(config, lessons=(*shipped, *teaching))
    except StoreAway:
        raise
    except StoreError:
        if config.learn_from:
            raise
        return config  # there is no store yet, or one that opening it will tell of


def _others(connection: sa.Connection, name: str) -> list[StudyInfo]:
    """Return the other studies; for a search of the service those of its owner's searches."""
    owners = queries.owners(connection)
    own = owners.get(name)
    return [
        each
        for each in queries.studies(connection)
        if each.name != name and (own is None or owners.get(each.name) == own)
    ]


def _choices(config: Config) -> dict[str, tuple[Value, ...]]:
    """Return the space's parameters that have a choice, with their values."""
    return {p.name: p.choices for p in config.space.parameters() if len(p.choices) > 1}


def _priors(config: Config) -> Iterator[Lesson]:
    """Yield the priors that were asked for."""
    own = _choices(config)
    for name in config.learn_from:
        if name.startswith(priors.PREFIX):
            lesson = priors.get(name).lesson
            if not shared(own, lesson.parameters):
                raise _nothing_shared(name, config)
            yield lesson


def _nothing_shared(source: str, config: Config) -> UserError:
    return UserError(
        f"--learn-from {source}: none of the {len(_choices(config))} parameters of "
        f"{config.space.name} has the same name and values there."
    )


def _sources(
    connection: sa.Connection, others: Sequence[StudyInfo], asked: Sequence[str], config: Config
) -> Iterator[RelatedStudy]:
    """Yield the studies that were asked for, else the closest: most parameters, then trials."""
    parameters, found = _choices(config), {}
    for info in others:
        common = len(shared(parameters, info.config.get("parameters", {})))
        if common and (info.name in asked or _is_close(info, common, len(parameters), config)):
            found[info.name] = RelatedStudy(info, common, queries.scored(connection, info.id))
    for study in asked:
        if study not in (names := [each.name for each in others]):
            raise UserError(unknown("study", study, names, listing="nas status"))
        if study not in found:
            raise _nothing_shared(study, config)
        if (count := len(found[study].trials)) < FEWEST:
            raise UserError(
                f"--learn-from {study}: it has {count} complete trials; at least {FEWEST} teach."
            )
        yield found[study]
    if not asked:
        close = [each for each in found.values() if len(each.trials) >= FEWEST]
        close.sort(key=lambda each: (-each.common, -len(each.trials), each.info.id))
        yield from close[:MOST_LESSONS]


def _is_close(info: StudyInfo, common: int, parameters: int, config: Config) -> bool:
    """Tell whether a study may be a lesson without being asked for.

    Finalists are too few, and what was trained under the same recipe is taken over as it is.
    """
    known = config.warm_start and info.config.get("recipe_hash") == config.recipe.hash
    return common >= CLOSE * parameters and not info.config.get("finalists") and not known


def lesson_of(
    connection: sa.Connection, info: StudyInfo, trials: Sequence[queries.ScoredTrial]
) -> Lesson:
    """Read a study's complete trials: the best, and some others where there are very many."""
    from optuna.trial import TrialState

    from nas.store import history

    scores = np.array([trial.score for trial in trials])
    chosen = capped(scores, (KEPT // 2, 0, KEPT // 2), random.Random(info.name))
    ids = [trials[index].trial_id for index in chosen]
    read = history.read(connection, info.id, [TrialState.COMPLETE], ids, max(ids))
    results = {}
    for trial in read:
        value = trial.user_attrs["metrics"].get(info.metric)
        if value is not None and math.isfinite(value):
            results[tuple(trial.params.items())] = (trial.params, gain(info.metric, value))
    last = max(trial.number for trial in trials)
    return Lesson.of(info.name, last, info.config["parameters"], list(results.values()))


def announced(lessons: Sequence[Lesson], config: Config) -> Iterator[str]:
    """Say what is taken from where."""
    own = _choices(config)
    for lesson in lessons:
        common, count = len(shared(own, lesson.parameters)), f"{len(lesson.metrics)} networks"
        source = f"study {lesson.study}, {count} up to trial {lesson.last}"
        if lesson.study.startswith(priors.PREFIX):
            source = f"{lesson.study}, {count}"
        yield f"learning: from {source}; {common} of {len(own)} parameters are its own too"
