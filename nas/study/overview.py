"""The facts of a searched study for its page and its figures, read from the store once."""

import logging
import shlex
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from platform import python_version

import sqlalchemy as sa

from nas import pruners
from nas.architecture import Architecture
from nas.config import Config
from nas.credentials import hidden
from nas.errors import StoreError, UserError
from nas.files import write
from nas.observers.showcase import figure_of
from nas.quantities import duration, number, share, short
from nas.report.facts import (
    Finalist,
    LearningCurve,
    Overview,
    RandomControl,
    Scored,
    ShownTrial,
    Statement,
    Tested,
    TrialEnd,
)
from nas.report.page import report_page
from nas.report.tradeoff import TradeOff
from nas.store import queries
from nas.store.queries import StudyInfo, TrialInfo
from nas.store.store import Store
from nas.study import options
from nas.study.finalists import Ranking, Standing, means
from nas.study.progress import counts_line
from nas.study.ranking import spots
from nas.study.tested import read_tested
from nas.study.winner import Ended, read_end
from nas.training.metrics import words

log = logging.getLogger("nas")
REPORT = "report.html"  # in a study's folder
DRAWN = 200  # architectures, the best, whose diagrams are in the page
SAME = ("recipe_hash", "objective", "limits", "parameters")  # in a random search's configuration
VERSIONS = ("torch", "optuna", "numpy")
# The options that stand in a study's configuration under their own names.
OF_DATA = ("groups", "include", "exclude", "forbid")
OF_PROPOSALS = ("features", "prefilter", "warm_start", "inherit", "learn_from")
OF_LADDERS = ("fidelity", "reduction")


def overview(connection: sa.Connection, study: str) -> Overview:
    """Read the facts of a study; raise StoreError where no trial is complete."""
    ended = read_end(connection, study)
    if ended is None:
        raise StoreError(f"Study {study!r} has no complete trial yet.")
    info, winner = ended.info, ended.ranking.winner
    config = Config.from_json(info.config)
    timed = config.objective.target_latency_ms is not None
    points = spots(ended.trials, info.metric, lambda t: t.latency_ms if timed else t.cost.macs)
    figure = figure_of(config, points, winner.trial)
    trained = steps(connection, info, ended.trials)
    control = _control(connection, info)
    tested = read_tested(Path(config.folder), ended.trainings[0][1].id)
    return Overview(
        study=info.name,
        metric=info.metric,
        question=list(_question(config, info)),
        answer=[*_answer(ended, config, tested), *_beside(trained, control)],
        warnings=list(_warnings(connection, ended, config)),
        trade_off=figure,
        networks=_networks(ended, figure),
        architectures=_architectures(connection, ended, figure),
        winner=ended.trainings[0][1].architecture,
        steps=trained,
        choices=_choices(ended),
        curves=list(_curves(connection, ended)),
        finalists=[_finalist(standing, ended.ranking) for standing in ended.ranking.finalists],
        provenance=list(_provenance(ended, config, trained)),
        commands=_commands(config, info),
        control=control,
        tested=tested,
        best=_finalist(winner, ended.ranking),
        fingerprint=config.recipe.fingerprint,
    )


def _question(config: Config, info: StudyInfo) -> Iterator[Statement]:
    space, limits = config.space, config.limits.tightest(config.space.limits).to_json()
    bounds = [f"{limit:,} {words(name)}" for name, limit in limits.items() if limit is not None]
    yield Statement(
        "Question",
        f"Which network of the space {space.name} is best on {hidden(config.recipe.data)}?",
        f"{config.classes} classes",
    )
    yield Statement("Score", config.objective.describe(info.metric), "the higher the better")
    if bounds:
        yield Statement("Limits", f"at most {' and '.join(bounds)}")


def _answer(ended: Ended, config: Config, tested: Tested | None) -> Iterator[Statement]:
    """Yield the winner, what it reaches and costs, and what is known beside it."""
    ranking, metric = ended.ranking, ended.info.metric
    winner, trial = ranking.winner, ranking.winner.trial
    amount = trial.cost.macs if trial.latency_ms is None else trial.latency_ms
    size = f"{short(trial.cost.macs)} FLOPs, {short(trial.cost.params)} parameters"
    timed = "" if trial.latency_ms is None else f", {trial.latency_ms:.3g} ms predicted"
    of_target = f"{share(amount / config.objective.target)} the target"
    yield Statement("Winner", f"trial {trial.number}", f"architecture {trial.architecture_id[:8]}")
    yield Statement("Cost", f"{size}{timed}", of_target)
    seeds = len(winner.trainings)
    over = f"mean and 95 % interval over {seeds} seeds" if seeds > 1 else "one training, one seed"
    yield Statement("Score", _with_interval(winner.score, winner.score_interval), over)
    majority = trial.metrics.get("majority_rate")
    yield Statement(
        f"{words(metric).capitalize()} on validation",
        _with_interval(winner.mean, winner.interval),
        "" if majority is None else f"majority class {majority:.4f}",
    )
    yield from _test(ended, tested)
    if (sentence := ranking.sentence()) is not None:
        accurate = ranking.accurate
        value = _with_interval(accurate.mean, accurate.interval)
        about, trial_of = "Most accurate within the limits", f"trial {accurate.trial.number}"
        yield Statement(about, f"{trial_of}: {value}", sentence)
    if (doubt := ranking.doubt()) is not None:
        trials = ", ".join(str(each.trial.number) for each in ranking.alike)
        yield Statement("Not told apart from the winner", f"trials: {trials}", doubt)


def _with_interval(value: float, interval: tuple[float, float] | None) -> str:
    low, high = interval or (None, None)
    return number(value) + ("" if low is None else f" ({low:.4f} to {high:.4f})")


def _test(ended: Ended, tested: Tested | None) -> Iterator[Statement]:
    """Yield the metric on the test split, whose interval is over its images where that is known."""
    looks, metric = dict(ended.looks), ended.info.metric
    rows = [looks[evaluation.id] for _, evaluation in ended.trainings if evaluation.id in looks]
    value = means(rows).get(metric) if rows else None
    if value is None:
        return
    remarks = [f"looked at {ended.look_count}x"]
    remarks += [f"mean of {len(rows)} trainings"] if len(rows) > 1 else []
    majority = rows[0].get("majority_rate")
    remarks += [f"majority class {majority:.4f}"] if majority is not None else []
    estimate = tested.report["metrics"].get(metric) if tested else None
    if estimate:
        one = _with_interval(estimate["value"], (estimate["low"], estimate["high"]))
        remarks.append(f"the one handed over {one}, 95 % over the images")
    yield Statement(f"{words(metric).capitalize()} on test", number(value), "; ".join(remarks))


def _beside(trained: Sequence[TrialEnd], control: RandomControl | None) -> Iterator[Statement]:
    """Yield how a random search of as many networks compares."""
    if control is None:
        return
    count = min(steps[-1].evaluations for steps in (trained, control.steps))
    ours, theirs = (
        max(s.score for s in steps if s.score is not None and s.evaluations <= count)
        for steps in (trained, control.steps)
    )
    yield Statement(
        "Beside random search",
        f"{ours:.4f} against {theirs:.4f}",
        f"best score of a single training among the first {count} networks, study {control.study}",
    )


def _warnings(connection: sa.Connection, ended: Ended, config: Config) -> Iterator[tuple[str, str]]:
    for warning in queries.warnings(connection, ended.info.id):
        yield warning.level, f"{warning.text} [{warning.guard}]"
    for reason, count in ended.failures.items():
        yield "warning", f"{count} failed: {hidden(reason)}"
    trial, goal = ended.ranking.winner.trial, config.objective
    amount = trial.cost.macs if goal.target_latency_ms is None else trial.latency_ms
    if amount is not None and amount > goal.target:
        yield "note", f"The winner is over the target: {amount / goal.target:.2f} times."


def steps(
    connection: sa.Connection, info: StudyInfo, trials: Sequence[TrialInfo]
) -> list[TrialEnd]:
    """Return a study's trials in the order of their ends, with what it had spent by then."""
    by_number = {trial.number: trial for trial in trials}
    trained: set[tuple[str, str]] = set()
    seconds, ended = 0.0, []
    for at, spent in queries.endings(connection, info.id):
        if (trial := by_number.get(at)) is None:
            continue
        seconds += spent
        if trial.reused_from is None:
            trained.add((trial.architecture_id, trial.recipe_hash))
        score = trial.score if trial.state == "complete" else None
        ended.append(TrialEnd(at, len(trained), seconds, score))
    return ended


def _control(connection: sa.Connection, info: StudyInfo) -> RandomControl | None:
    """Return the largest random search of the store that asked the same, but for this study."""
    if info.config.get("sampler") == "random" or info.search or info.is_given:
        return None
    found: list[RandomControl] = []
    for other in queries.studies(connection):
        asked_the_same = all(other.config.get(key) == info.config.get(key) for key in SAME)
        if asked_the_same and other.config.get("sampler") == "random" and not other.search:
            trained = steps(connection, other, queries.trials(connection, other.id))
            if any(step.score is not None for step in trained):
                found.append(RandomControl(other.name, trained))
    return max(found, key=lambda control: len(control.steps), default=None)


def _networks(ended: Ended, figure: TradeOff) -> list[ShownTrial]:
    """Return each trial that stands in the figure, with its numbers in words."""
    shown = {spot.number for layer in figure.layers for spot in layer.spots}
    return [
        ShownTrial(trial.number, trial.architecture_id, _numbers(trial, ended.info), trial.notation)
        for trial in ended.trials
        if trial.number in shown
    ]


def _numbers(trial: TrialInfo, info: StudyInfo) -> str:
    parts = [
        trial.state if trial.state == "complete" else f"{trial.state} at epoch {trial.fidelity}",
        f"{words(info.metric)} {number(trial.metrics.get(info.metric))}",
        f"score {number(trial.score)}",
        f"{short(trial.cost.macs)} FLOPs",
        f"{short(trial.cost.params)} parameters",
    ]
    parts += [f"{trial.latency_ms:.3g} ms"] if trial.latency_ms is not None else []
    parts += [f"{key} {value}" for key, value in trial.recipe.items()]
    return ", ".join(parts)


def _architectures(
    connection: sa.Connection, ended: Ended, figure: TradeOff
) -> dict[str, Architecture]:
    """Return the architectures of finalists, of the front, and of the best by score."""
    by_number = {trial.number: trial for trial in ended.trials}
    first = [standing.trial for standing in ended.ranking.finalists]
    first += [by_number[spot.number] for spot in (*figure.front, *figure.promising)]
    complete = [trial for trial in ended.trials if trial.state == "complete"]
    first += sorted(complete, key=lambda trial: -(trial.score or 0.0))
    evaluations = {trial.architecture_id: trial.evaluation_id for trial in reversed(first)}
    wanted = list(dict.fromkeys(trial.architecture_id for trial in first))[:DRAWN]
    drawn = {}
    for identity in wanted:
        try:
            stored = queries.evaluation(connection, evaluations[identity])
            drawn[identity] = stored.architecture
        except UserError:  # a block that is not known here has no picture
            continue
    return drawn


def _choices(ended: Ended) -> list[Scored]:
    scores = {trial.number: trial.score for trial in ended.trials if trial.state == "complete"}
    return [
        Scored(choices, score)
        for at, choices in ended.choices.items()
        if (score := scores.get(at)) is not None
    ]


def _curves(connection: sa.Connection, ended: Ended) -> Iterator[LearningCurve]:
    """Yield the curves of the newest trials, and of the winner's trainings."""
    best, is_final = ended.ranking.winner, ended.ranking.is_final
    for at, points in ended.curves.items():
        if is_final or at != best.trial.number:
            yield LearningCurve(f"trial {at}", points)
    for training, _ in ended.trainings:
        curve = queries.curve(connection, training.evaluation_id)
        values = [(point.epoch, point.metrics.get(ended.info.metric)) for point in curve]
        known = [(epoch, value) for epoch, value in values if value is not None]
        name = f"trial {best.trial.number}{', in full' * is_final}"
        yield LearningCurve(name, known, is_best=True)


def _finalist(standing: Standing, ranking: Ranking) -> Finalist:
    return Finalist(
        trial=standing.trial.number,
        macs=standing.trial.cost.macs,
        params=standing.trial.cost.params,
        values=standing.values,
        mean=standing.mean,
        interval=standing.interval,
        score=standing.score,
        standing=ranking.standing_of(standing),
    )


def _provenance(ended: Ended, config: Config, trained: Sequence[TrialEnd]) -> Iterator[Statement]:
    space, recipe = config.space, config.recipe
    size = f"{len(space.parameters())} parameters, {space.size():.3g} assignments"
    yield Statement("Space", space.name, size)
    yield Statement("Data", hidden(recipe.data), f"fingerprint {recipe.fingerprint}")
    yield Statement("Recipe", hidden(recipe.describe()), f"hash {recipe.hash}")
    if config.finals is not None:
        finals = config.finals
        seeds = f"{finals.networks} finalists, {finals.seeds} seeds each"
        yield Statement("Recipe of finalists", hidden(finals.recipe.describe()), seeds)
    yield Statement(
        "Search", f"sampler {config.sampler}, pruner {config.pruner}", f"seed {config.seed}"
    )
    seconds = trained[-1].seconds if trained else 0.0
    counted = counts_line(ended.counts)
    yield Statement("Trials", counted, f"{duration(seconds)} of training, all workers together")
    yield Statement("Begun", f"{ended.info.created:%Y-%m-%d %H:%M} UTC")
    versions = [f"Python {python_version()}", *(f"{name} {version(name)}" for name in VERSIONS)]
    yield Statement("Versions", ", ".join(versions), "where this page was written")


def _commands(config: Config, info: StudyInfo) -> list[str]:
    """Return the commands that search once more, go on, and export."""
    goal, name = config.objective, shlex.quote(info.name)
    target = (
        f"--target-flops {goal.target_flops}"
        if goal.target_latency_ms is None
        else f"--target-latency {goal.target_latency_ms:g}ms"
    )
    limits = config.limits.to_json()
    bounds = [f"--max-flops {limits['macs']}"] if limits.get("macs") is not None else []
    bounds += [f"--max-params {limits['params']}"] if limits.get("params") is not None else []
    again = [
        "nas search --study again", f"--space {shlex.quote(config.space.name)}",
        f"--data {shlex.quote(hidden(config.data))}", target, f"--objective {goal.kind}",
        f"--w={goal.weight:g}", *bounds, "--recipe recipe.toml", f"--sampler {config.sampler}",
        f"--pruner {config.pruner}", f"--seed {config.seed}", *_further(config),
    ]  # fmt: skip
    if limits.get("peak_activation_bytes") is not None:
        again.append(f"--max-memory {limits['peak_activation_bytes']}")
    if info.trials is not None:
        again.append(f"--trials {info.trials}")
    if info.seconds is not None:
        again.append(f"--time {info.seconds:g}s")
    return [
        f"nas recipe show {name} > recipe.toml",
        " ".join(again),
        f"nas resume --study {name}",
        f"nas export --study {name} --out {name}",
        f"nas report --study {name} --out report.html",
    ]


def _further(config: Config) -> Iterator[str]:
    """Yield the options of a search that differ from their defaults, but for the recipe's."""
    finals = config.finals
    yield (
        "--no-finalists"
        if finals is None
        else f"--finalists {finals.networks} --final-seeds {finals.seeds}"
    )
    if isinstance(config.space.resolution, int):
        yield f"--resolution {config.space.resolution}"
    climbs = config.pruner in pruners.ladders()
    for name in (*OF_DATA, *OF_PROPOSALS, *(OF_LADDERS if climbs else ())):
        option, value = options.declared()[name], getattr(config, name)
        if value == option.default:
            continue
        if option.type is bool:
            yield option.flags[0 if value else 1]
        elif option.repeats:
            yield from (f"{option.flag} {shlex.quote(hidden(str(each)))}" for each in value)
        else:
            text = ",".join(value) if isinstance(value, tuple) else str(value)
            yield f"{option.flag} {shlex.quote(hidden(text))}"


def write_report(store: Store, study: str) -> None:
    """Write a study's page into its folder; a search does not fail for it: an error is logged."""
    try:
        with store.read() as connection:
            facts = overview(connection, study)
            folder = Path(str(queries.study(connection, study).folder))
        write(folder / REPORT, report_page(facts).encode())
    except Exception:
        log.exception("the study's page")
