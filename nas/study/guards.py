"""Guards: each looks at a study and warns, with a count, where its numbers mislead.

A guard is a row of `GUARDS`. All of them are asked at a search's beginning, when the data are known
and no network, and again at its end. A guard that lacks its evidence is silent.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from nas.config import Config
from nas.data import DataSet
from nas.data.dataset import members
from nas.data.duplicates import Tally, duplicates
from nas.data.mirrors import mirrored
from nas.data.sameness import sameness
from nas.quantities import short
from nas.report.intervals import mean_and_error
from nas.search_space.parameters import Assignment, Parameter
from nas.store.queries import TrialInfo
from nas.store.records import GuardWarning
from nas.study import chance
from nas.study.finalists import Ranking, Standing
from nas.training.metrics import gain, words
from nas.training.recipe import Recipe

Finding = tuple[int, str] | None  # a count and the text; None where there is nothing to say
ASSUMED = 0.9  # the metric, for as long as no network has one, and where it is above
TOLD_APART = 0.02  # a search has to tell apart networks whose metrics differ by this
BEST = 5  # networks whose differences are told
IMBALANCE = 5  # times as many train images of one class as of another
NEAR_SHARE = 0.01  # of a split's images that have a near copy in another split
OPTIMISM = 0.01  # of a metric; less is no matter
PIXELS = 1e9  # of all images: more are not decoded at a search's beginning only to find copies
MANY = 15_000  # images: looking for copies among 60,000 takes 20 seconds
FEWEST_TRIALS, FEWEST_EDGES = 3, 2
SIGNIFICANCE = 0.05


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The facts that guards look at; at the beginning there are only the data.

    `networks` are the complete trials of different networks, the best first, `choices` their
    parameters' values by the trials' numbers, `looks` the looks at the test split.
    """

    config: Config
    data: DataSet
    ranking: Ranking | None = None
    networks: Sequence[TrialInfo] = ()
    choices: Mapping[int, Assignment] | None = None
    looks: int = 0

    @property
    def metric(self) -> str:
        """The objective's metric."""
        return self.config.recipe.metric

    @property
    def winner(self) -> Standing | None:
        """The network that is handed over."""
        return self.ranking.winner if self.ranking else None

    @property
    def images(self) -> chance.Counts:
        """The images of each class that a network is scored on, (classes,)."""
        validation = _by_class(self.data, "validation")
        return validation + _by_class(self.data, "train") if self.has_folds else validation

    @property
    def trained_by(self) -> Recipe:
        """The recipe of the trainings that the winner is chosen by: the finalists', if any."""
        is_final = self.ranking is not None and self.ranking.is_final
        finals = self.config.finals if is_final else None
        return self.config.recipe if finals is None else finals.recipe

    @property
    def has_folds(self) -> bool:
        """Whether a network is scored on folds of the train and validation images."""
        return self.config.recipe.folds > 1

    @property
    def scored_on(self) -> str:
        """The number of images that a network is scored on, in words."""
        return f"{self.images.sum()} {'' if self.has_folds else 'validation '}images"

    def gains(self) -> list[float]:
        """Return the networks' metrics as the objective counts them."""
        values = (trial.metrics.get(self.metric) for trial in self.networks)
        return [gain(self.metric, value) for value in values if value is not None]


@dataclass(frozen=True)
class Guard:
    """A guard: its level, a line on when it warns, and the look at the evidence."""

    level: str
    when: str
    check: Callable[[Evidence], Finding]


def warnings(evidence: Evidence) -> list[GuardWarning]:
    """Return the warnings of all guards, the gravest first."""
    findings = ((name, guard.level, guard.check(evidence)) for name, guard in GUARDS.items())
    return [
        GuardWarning(name, level, finding[1], finding[0])
        for name, level, finding in findings
        if finding is not None
    ]


def _one_class(evidence: Evidence) -> Finding:
    trainings = evidence.winner.trainings if evidence.winner else ()
    aurocs = [training.metrics.get("auroc") or 0.0 for training in trainings if training.one_class]
    if not (blind := len(aurocs)):
        return None
    which = "" if len(trainings) == 1 else f" in {blind} of its {len(trainings)} trainings"
    told = f"the winner gives the same answer for all {evidence.scored_on}{which}"
    auroc = min(aurocs)
    if len(evidence.images) > 1 and auroc > _by_luck("auroc", evidence):
        refit = (
            "give batch norm the statistics of its last weights (--set "
            "regularisation.batch_norm_images=512), or "
        )
        return blind, (
            f"{told}, though its AUROC of {auroc:.3f} is above chance: it ranks them. To make it "
            f"answer, {'' if evidence.trained_by.batch_norm_images else refit}weigh the classes "
            "(--set loss.class_weights)."
        )
    return blind, (
        f"{told}: it has learnt nothing. Train longer, or weigh the classes "
        "(--set loss.class_weights)."
    )


def _by_luck(name: str, evidence: Evidence) -> float:
    """Return what the best of all networks reaches by luck in a metric, 19 in 20."""
    none = chance.no_skill(name, evidence.images)
    error = chance.standard_error(name, none, evidence.images)
    return none + chance.best_of(len(evidence.networks)) * error


def _majority(evidence: Evidence) -> Finding:
    if evidence.winner is None or len(evidence.images) == 1:  # several labels: no majority class
        return None
    images, values = evidence.images, evidence.winner.validation
    has_chance = evidence.metric in chance.JUDGED and evidence.data.task == "classes"
    name = evidence.metric if has_chance else "auroc"
    tries, limit = len(evidence.networks), _by_luck(name, evidence)
    if values.get(name, math.inf) > limit:
        return None
    ranks = name != "auroc" and values.get("auroc", 0.0) > _by_luck("auroc", evidence)
    advice = (
        f" Its AUROC of {values['auroc']:.3f} is above chance: it ranks images, but its answers are"
        " no better than one answer for all; --metric auroc or balanced_accuracy asks for more."
        if ranks
        else " Nothing shows that it has learnt anything from the images."
    )
    return int(images.sum()), (
        f"the winner's {words(name)} of {values[name]:.3f} on {evidence.scored_on} is "
        f"within chance of {chance.no_skill(name, images):.3f}, which always giving the most "
        f"frequent class has: by luck the best of {tries} networks reaches {limit:.3f}."
        f"{advice}"
    )


def _validation_small(evidence: Evidence) -> Finding:
    winner, images = evidence.winner, evidence.images
    value = min(ASSUMED, winner.gain) if winner else ASSUMED
    error = chance.standard_error(evidence.metric, max(1 - ASSUMED, value), images)
    if error <= TOLD_APART:
        return None
    best = evidence.gains()[:BEST]
    few = (
        f"{evidence.scored_on} are too few to rank networks: at {value:.2f} the "
        f"standard error of {words(evidence.metric)} is {100 * error:.1f} points"
    )
    lie = f"; the best {len(best)} lie within {100 * np.ptp(best):.1f} points" if best[1:] else ""
    folds = "" if evidence.has_folds else "score on folds (--folds 5), give more images, or "
    return int(images.sum()), (f"{few}{lie}: {folds}believe only large differences.")


def _overfitted_validation(evidence: Evidence) -> Finding:
    finalists = evidence.ranking.finalists if evidence.ranking else ()
    if evidence.config.finalists:  # given networks, which no search has scored
        return None
    metric = evidence.metric
    drops = [
        gain(metric, before) - standing.gain
        for standing in finalists
        if (before := standing.trial.metrics.get(metric)) is not None
    ]
    if not drops:
        return None
    deviations = [v - s.mean for s in finalists if len(s.values) > 1 for v in s.values]
    freedom = len(deviations) - sum(len(s.values) > 1 for s in finalists)
    if freedom > 0:  # the spread over seeds, pooled: the search's score is one draw more
        spread = math.sqrt(sum(each**2 for each in deviations) / freedom)
    else:
        spread, freedom = chance.standard_error(metric, finalists[0].gain, evidence.images), 10**6
    parts = sum(1 + 1 / len(s.values) for s in finalists)
    margin = float(stdtrit(freedom, 1 - SIGNIFICANCE / 2)) * spread * math.sqrt(parts) / len(drops)
    drop = statistics.fmean(drops)
    if drop <= max(margin, OPTIMISM):
        return None
    return len(drops), (
        f"the search's {words(metric)} of its {len(drops)} finalists was {100 * drop:.1f} ± "
        f"{100 * margin:.1f} points better than after training them anew: the search chose lucky "
        "scores. Believe the finalists' means, and the test split most."
    )


def _edge(evidence: Evidence) -> Finding:
    winner, choices = evidence.winner, evidence.choices or {}
    if winner is None or winner.trial.number not in choices:
        return None
    values = choices[winner.trial.number]
    ordered = [p for p in evidence.config.space.parameters() if p.name in values and _is_ordered(p)]
    edges = [edge for p in ordered if (edge := _at_edge(p, evidence, values, len(ordered)))]
    if len(edges) < FEWEST_EDGES:
        return None
    return len(edges), (
        f"{len(edges)} of the winner's {len(ordered)} ordered choices are at the edge of the space,"
        f" and scores rise towards it: {', '.join(edges)}. A wider space may have a better network."
    )


def _is_ordered(parameter: Parameter) -> bool:
    numbers = (isinstance(c, int | float) and not isinstance(c, bool) for c in parameter.choices)
    return len(parameter.choices) > 2 and all(numbers)


def _at_edge(
    parameter: Parameter, evidence: Evidence, values: Assignment, tries: int
) -> str | None:
    """Return a parameter's value where it is an edge that trials get better towards, else None.

    The mean score there is above that of the value beside it by Student's test, corrected for the
    number of parameters that are tried. Nothing lies beyond 1, or beyond the images' own size.
    """
    steps, value = sorted(map(float, parameter.choices)), float(values[parameter.name])
    if value not in (steps[0], steps[-1]) or value <= 1:
        return None
    if parameter.name == "resolution" and value >= evidence.data.native_resolution:
        return None
    beside = steps[1] if value == steps[0] else steps[-2]
    scores: dict[float, list[float]] = {value: [], beside: []}
    for trial in evidence.networks:
        chosen = (evidence.choices or {}).get(trial.number, {}).get(parameter.name)
        if chosen is not None and float(chosen) in scores and trial.score is not None:
            scores[float(chosen)].append(trial.score)
    if min(map(len, scores.values())) < FEWEST_TRIALS:
        return None
    (here, error), (there, other) = map(mean_and_error, scores.values())
    freedom = sum(map(len, scores.values())) - 2
    if here - there <= stdtrit(freedom, 1 - SIGNIFICANCE / tries) * math.hypot(error, other):
        return None
    return f"{parameter.name} {value:g} ({'lowest' if value == steps[0] else 'highest'})"


def _test_looks(evidence: Evidence) -> Finding:
    if evidence.looks < 2:
        return None
    return evidence.looks, (
        f"the test split was looked at {evidence.looks} times: whoever chooses by these looks has "
        "fitted it, and the best of them is too good. Only the first is an honest number."
    )


def _alike(evidence: Evidence) -> Finding:
    data = evidence.data
    if _is_large(data):
        return None
    found = sameness(data)
    if found.pictures == 1:
        return found.images, (
            f"all {found.images} images have the same pixels: there is nothing to learn. Look at "
            "how they were read (nas data show)."
        )
    parts = {}
    if found.constant > NEAR_SHARE * found.images:
        parts[f"{found.constant} have a single level each and show nothing"] = found.constant
    if found.contradictory:
        other = "another class" if data.task == "classes" else "other labels"
        words = f"{found.contradictory} have the same pixels as an image of {other}"
        parts[words] = found.contradictory
    if not parts:
        return None
    return sum(parts.values()), f"of {found.images} images {'; '.join(parts)}."


def _duplicates(evidence: Evidence) -> Finding:
    data = evidence.data
    if _is_large(data):
        return None
    copies = duplicates(data)
    found = [_copies(copies.exact, "copies", data, 0.0)]
    found.append(_copies(copies.near, "nearly copies", data, NEAR_SHARE))
    parts = [part for _, part in found if part]
    if not parts:
        return None
    return sum(count for count, _ in found), (
        f"images are in two splits: {'; '.join(parts)}. Networks that remember them score too high;"
        " take them out of one split."
    )


def _copies(tally: Tally, kind: str, data: DataSet, least: float) -> tuple[int, str]:
    """Count and name the copies of another split's images, where they are more than a share."""
    told = {
        (first, second): count
        for (first, second), count in tally.across.items()
        if count > least * len(data.splits[second])
    }
    parts = [
        f"{count} of {len(data.splits[second])} {second} images are {kind} of {first} images"
        for (first, second), count in told.items()
    ]
    return sum(told.values()), ", ".join(parts)


def _mirrored(evidence: Evidence) -> Finding:
    data = evidence.data
    if _is_large(data) or not evidence.config.recipe.augmentation.get("flip"):
        return None
    found = mirrored(data)
    pairs = [
        f"{pair.mirrored} of {pair.images} images of {data.classes[pair.first]!r} and "
        f"{data.classes[pair.second]!r} look like the other class when they are mirrored"
        for pair in found
    ]
    if not pairs:
        return None
    return sum(pair.mirrored for pair in found), (
        f"{'; '.join(pairs)}, and training images are mirrored: forbid it (--forbid flip)."
    )


def _imbalance(evidence: Evidence) -> Finding:
    images, classes = _by_class(evidence.data, "train"), evidence.data.classes
    if evidence.data.task == "labels":  # rare labels are usual, and AUROC is the default
        return None
    most, least = int(images.argmax()), int(images.argmin())
    if evidence.metric != "accuracy" or images[most] < IMBALANCE * images[least]:
        return None
    return int(images[least]), (
        f"class {classes[most]!r} has {short(images[most])} train images, {classes[least]!r} "
        f"{short(images[least])}: accuracy hardly shows whether the rare class is found; see "
        "--metric balanced_accuracy or auroc."
    )


def _is_large(data: DataSet) -> bool:
    """Tell whether decoding all images only to look at them takes long."""
    return _total(data) * data.native_resolution**2 > PIXELS


def _total(data: DataSet) -> int:
    return sum(len(split) for split in data.splits.values())


def takes_long(data: DataSet) -> bool:
    """Tell whether looking for copies takes more than a few seconds."""
    return _total(data) > MANY


def _by_class(data: DataSet, split: str) -> chance.Counts:
    """Return the number of a split's images of each class.

    Of several labels it is that of the images without and with the rarest one, known worst.
    """
    has = members(data.splits[split].labels, len(data.classes))
    if data.task == "classes":
        return np.asarray(has.sum(0))
    rarest = members(data.splits["train"].labels, len(data.classes)).sum(0).argmin()
    known = int(has[:, rarest].sum())
    return np.array([len(has) - known, known])


GUARDS = {
    "one_class": Guard("error", "the winner predicts a single class", _one_class),
    "majority": Guard(
        "warning", "the winner's score is within chance of the majority rate", _majority
    ),
    "validation_small": Guard(
        "warning", "the validation images are too few to rank the best networks", _validation_small
    ),
    "overfitted_validation": Guard(
        "warning", "finalists score worse than in the search", _overfitted_validation
    ),
    "alike": Guard("warning", "images are all the same, blank, or the same in two classes", _alike),
    "duplicates": Guard("warning", "images of one split are in another one too", _duplicates),
    "mirrored": Guard("warning", "images are mirrored, and so turn into another class", _mirrored),
    "test_looks": Guard("warning", "the test split was looked at more than once", _test_looks),
    "edge": Guard("note", "several choices of the winner are at the space's edge", _edge),
    "imbalance": Guard("note", "accuracy is the metric of imbalanced classes", _imbalance),
}
