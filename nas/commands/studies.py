"""The verbs that read studies: status, top, front, rescore, show.

Importing this module imports neither torch nor the store.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from nas import quantities
from nas.commands._options import Help, Picture, Store, StudyName, argument
from nas.commands._values import Several
from nas.errors import NotStored, UserError
from nas.files import check_picture, writing
from nas.report import tables

if TYPE_CHECKING:
    import sqlalchemy as sa

    from nas.commands.watch import Reading
    from nas.store.queries import StudyInfo, TrialInfo
    from nas.store.records import CurvePoint, GuardWarning
    from nas.study.progress import Progress
    from nas.study.ranking import Front, Rescored


def status(study: str | None = None, *, store: str | None = None) -> "Several[Progress]":
    """Return how far one study is, or all of them."""
    from nas.store import queries
    from nas.study.progress import progress

    with reading(store) as connection:
        infos = [queries.study(connection, study)] if study else queries.studies(connection)
        return statuses(progress(connection, info) for info in infos)


def statuses(read: "Iterable[Progress]", *, single: bool = False) -> "Several[Progress]":
    """Return how far studies are as a value that says itself."""

    def text(shown: "Sequence[Progress]") -> tables.Lines:
        from nas.commands.watch import lines

        return (line for status in shown for line in lines(status))

    return Several(read, text, single=single)


def status_or_watch(
    studies: Annotated[list[str] | None, argument("Studies' names; all if left out.")] = None,
    *,
    study: Annotated[str | None, Help("One name, as elsewhere.")] = None,
    watch: Annotated[bool, Help("Go on showing it, until Ctrl-C.")] = False,
    every: Annotated[float | None, Help("With --watch, seconds: 2.")] = None,
    until_done: Annotated[bool, Help("With --watch, end when the budget is spent.")] = False,
    store: Store = None,
) -> "Several[Progress] | Iterator[Reading]":
    """Show how far a study is, or all of them, who works on it and how fast; --watch goes on."""
    names = [*(studies or ()), *([study] if study else ())]
    if watch:
        from nas.commands import watch as watching

        every = watching.EVERY if every is None else every
        return watching.watch(names, store=store, every=every, until_done=until_done)
    refuse_unwatched(every=every is not None, until_done=until_done)
    read = [each for name in names or [None] for each in status(name, store=store)]
    return statuses(read, single=len(names) == 1)


def refuse_unwatched(*, every: bool, until_done: bool) -> None:
    """Refuse options of --watch that are given without it."""
    for option, given in (("--every", every), ("--until-done", until_done)):
        if given:
            raise UserError(f"{option} is for --watch; give --watch too.")


def top(study: StudyName = None, *, store: Store = None, n: int = 5) -> "Several[TrialInfo]":
    """Return the n best trials of different architectures of a study, by default the newest."""
    from nas.store import queries

    if n < 1:
        raise UserError(f"The number of trials to show is at least 1, not {n}.")
    with reading(store) as connection:
        info = study_of(connection, study)
        trials, exports = queries.best(connection, info.id, n), queries.exports(connection, info.id)

    def lines(shown: "Sequence[TrialInfo]") -> tables.Lines:
        yield tables.top_table(shown, info.metric)
        for trial in shown:
            if verdicts := exports.get(trial.architecture_id):
                yield f"trial {trial.number} is exported: {tables.exported(verdicts)}"

    return Several(trials, lines)


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
    with reading(store) as connection:
        rebuilt = ranking.front(connection, study_of(connection, study), cost)
    if out is None:
        return rebuilt
    with writing(Path(out)):
        rebuilt.draw(Path(out))
    return replace(rebuilt, picture=out)


def top_or_front(
    study: StudyName = None,
    *,
    n: Annotated[int | None, Help("How many: 5.", ("--n", "-n"))] = None,
    pareto: Annotated[bool, Help("The front of metric and cost instead.")] = False,
    cost: Annotated[str | None, Help("With --pareto, macs or params: macs.")] = None,
    out: Picture = None,
    store: Store = None,
) -> "Several[TrialInfo] | Front":
    """Show a study's best trials, or with --pareto those that no other beats in metric and cost.

    Raises UserError for options that could have no effect beside the others.
    """
    check_front(n, {"--cost": cost, "--out": out}, pareto=pareto)
    if pareto:
        return front(study, cost=cost or "macs", out=out, store=store)
    return top(study, store=store, n=5 if n is None else n)


def rescore(
    study: StudyName = None,
    *,
    target_flops: Annotated[str | float, Help("The FLOPs target to rank by, such as 50M.")],
    w: Annotated[float | None, Help("Weight of FLOPs / T: its own.")] = None,
    objective: Annotated[str | None, Help("soft or hard: its own.")] = None,
    n: Annotated[int | None, Help("How many.", ("--n", "-n"), default=10)] = None,
    store: Store = None,
) -> "Rescored":
    """Rank a study's trials by another target, weight or kind of objective; nothing is trained.

    What is left out is the study's own; of the ranks the first `n` are kept.
    """
    from nas.study import ranking

    if n is not None and n < 1:
        raise UserError(f"The number of trials to show is at least 1, not {n}.")
    target = quantities.count(target_flops, "--target-flops")
    with reading(store) as connection:
        info = study_of(connection, study)
        rescored = ranking.rescore(connection, info, target, objective, w)
    return replace(rescored, trials=rescored.trials[:n])


def check_front(n: int | None, of_front: Mapping[str, str | None], *, pareto: bool) -> None:
    """Refuse options that could have no effect beside --pareto, or without it."""
    if pareto and n is not None:
        raise UserError(f"--pareto shows the whole front; --n {n} is for the best by score.")
    for option, value in of_front.items():
        if value is not None and not pareto:
            raise UserError(f"{option} {value} is for the front; give --pareto too.")


@dataclass(frozen=True)
class TrialView:
    """One trial with its architecture and its learning curve."""

    trial: "TrialInfo"
    architecture: Mapping[str, Any]
    curve: "list[CurvePoint]"
    metric: str
    warnings: "Sequence[GuardWarning]" = ()  # of the study's guards
    exports: Sequence[Mapping[str, Any]] = ()  # verdicts on its architecture's files

    def to_json(self) -> dict[str, Any]:
        """Return the trial as plain data, its architecture, curve and exports with it."""
        curve = [asdict(point) for point in self.curve]
        warnings = [warning.to_json() for warning in self.warnings]
        shown = {"architecture": self.architecture, "curve": curve, "warnings": warnings}
        return {**self.trial.to_json(), **shown, "exports": list(self.exports)}

    def lines(self) -> tables.Lines:
        """Say what the trial is worth and is made of, and show its curve."""
        from nas.study.progress import trial_line

        yield f"{trial_line(self.trial, self.metric)} ({self.trial.state})"
        yield self.trial.notation
        if self.trial.reason:
            yield self.trial.reason
        yield tables.curve_table(self.curve, self.metric)
        for verdict in self.exports:
            differs = (
                verdict["failure"] or f"differs by {verdict['verified']:.1e} of the largest output"
            )
            yield f"exported as {verdict['format']}: {differs} ({verdict['runtime']})"
        yield from map(tables.Remark, self.warnings)


def show(
    study: StudyName = None,
    trial: Annotated[int | None, Help("Number; the best if left out.")] = None,
    *,
    store: Store = None,
) -> TrialView:
    """Show one trial: its network, its numbers, its learning curve."""
    from nas.store import queries

    with reading(store) as connection:
        info = study_of(connection, study)
        shown = trial_of(connection, info, trial)
        evaluation = queries.evaluation(connection, shown.evaluation_id)
        curve = queries.curve(connection, shown.evaluation_id)
        warnings = queries.warnings(connection, info.id)
        exports = queries.exports(connection, info.id).get(shown.architecture_id, [])
    return TrialView(shown, evaluation.architecture_json, curve, info.metric, warnings, exports)


@contextmanager
def reading(store: str | None) -> "Iterator[sa.Connection]":
    """Open a store, by default that of the environment, for reading."""
    from nas.store import engine, queries

    with queries.connect(engine.resolve(store)) as connection:
        yield connection


def study_of(connection: "sa.Connection", name: str | None) -> "StudyInfo":
    """Return the study of this name, or the newest; raise StoreError where there is none."""
    from nas.store import queries

    if name is not None:
        return queries.study(connection, name)
    studies = [each for each in queries.studies(connection) if each.search is None]
    if not studies:
        raise NotStored("The store has no study yet; nas search makes one.")
    return studies[-1]


def trial_of(connection: "sa.Connection", info: "StudyInfo", number: int | None) -> "TrialInfo":
    """Return the trial of this number, or the best; raise StoreError where there is none."""
    from nas.store import queries

    if number is not None:
        return queries.trial(connection, info.id, number)
    best = queries.best(connection, info.id, 1)
    if not best:
        raise NotStored(f"Study {info.name!r} has no complete trial yet; give a trial's number.")
    return best[0]
