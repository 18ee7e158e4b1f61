"""Priors, the lessons that come with nas: made of studies, and how far they hold on other images.

    python -m benchmarks.priors make NAME --about WORDS FILE:STUDY ...
    python -m benchmarks.priors rank NAME FILE:STUDY ...

`make` writes nas/study/priors/NAME.json of SQLite files' studies, of each at most 100 complete
trials. They have to be over one space, by one recipe but for the seed; of an assignment that
several trained it takes the mean. `rank` has the prior's model, as the sampler has it, predict the
metrics of the networks of such studies, on other images say. It prints the rank correlation with
what they reached, over assignments that the prior does not have, with a 95 % interval from a
bootstrap over them. The studies may be those of `benchmarks.inheritance`, in its `--folder`.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from optuna.distributions import CategoricalDistribution

from benchmarks.search.measures import rank_correlation
from nas.config import Config
from nas.files import write_json
from nas.samplers._lesson import Lesson
from nas.samplers._transfer import LessonModel
from nas.store import queries
from nas.study import priors
from nas.study.lessons import lesson_of

FOLDER = Path(priors.__file__).parent
Row = tuple[tuple[str, object], ...]  # an assignment


def made(name: str, about: str, sources: Sequence[str]) -> priors.Prior:
    """Make a prior of studies, each FILE:STUDY; SystemExit where they are not alike."""
    lessons, facts = [], []
    for source in sources:
        file, _, study = source.rpartition(":")
        with queries.connect(f"sqlite:///{file}") as connection:
            info = queries.study(connection, study)
            lessons.append(lesson_of(connection, info, queries.scored(connection, info.id)))
        config = Config.from_json(info.config)
        alike = replace(config.recipe, seed=0).hash
        facts.append((config.space.name, lessons[-1].parameters, info.metric, alike))
    if any(fact != facts[0] for fact in facts):
        raise SystemExit("The studies differ in space, parameters, metric or recipe.")
    return priors.Prior(facts[0][0], about, merged(priors.PREFIX + name, lessons))


def merged(name: str, lessons: Sequence[Lesson]) -> Lesson:
    """Make one lesson of several over the same parameters; a network has its mean metric."""
    metrics: dict[Row, list[float]] = defaultdict(list)
    for lesson in lessons:
        for values, metric in zip(lesson.assignments(), lesson.metrics, strict=True):
            metrics[tuple(values.items())].append(metric)
    results = [(dict(row), fmean(own)) for row, own in metrics.items()]
    return Lesson.of(name, len(results) - 1, lessons[0].parameters, results)


def ranked(source: Lesson, target: Lesson) -> dict[str, Any]:
    """Compare a lesson's expectations with the metrics of another lesson's networks."""
    own = {name: CategoricalDistribution(choices) for name, choices in target.parameters.items()}
    known = [dict(each) for each in source.assignments()]
    pairs = [
        (values, metric)
        for values, metric in zip(target.assignments(), target.metrics, strict=True)
        if values not in known
    ]
    expected = LessonModel(source, own).expect([values for values, _ in pairs])
    reached = [metric for _, metric in pairs]
    correlation, *ends = rank_correlation(expected.tolist(), reached)
    return {
        "prior": source.study, "networks": len(pairs),
        "rank_correlation": correlation, "interval": ends,
    }  # fmt: skip


def main() -> None:
    """Make a prior, or compare one with other studies."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    make, rank = verbs.add_parser("make"), verbs.add_parser("rank")
    make.add_argument("--about", required=True, help="what the networks were trained with")
    for verb in (make, rank):
        verb.add_argument("name")
        verb.add_argument("sources", nargs="+", help="FILE:STUDY")
    rank.add_argument("--results", type=Path, default=Path("benchmarks/results/priors.json"))
    given = parser.parse_args()
    if given.verb == "make":
        prior = made(given.name, given.about, given.sources)
        file = FOLDER / f"{given.name}.json"
        file.write_text(json.dumps(prior.to_json()) + "\n", encoding="utf-8")
        print(f"{prior.name}: {len(prior.lesson.metrics)} networks of {prior.space}")
        return
    prior = priors.get(priors.PREFIX + given.name)
    result = ranked(prior.lesson, made("studies", "", given.sources).lesson)
    write_json(given.results, result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
