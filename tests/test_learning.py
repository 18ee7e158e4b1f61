"""Learning from other studies: who teaches, what is taken, what it is worth, what is kept."""

import json
import random
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import create_trial
from search_kit import SPACE, arguments, nas_here, result

from benchmarks.priors import made, merged, ranked
from nas import search_space
from nas.config import Config
from nas.cost import Limits
from nas.errors import UserError
from nas.objective import Objective
from nas.samplers._lesson import Lesson
from nas.samplers._space import SpaceOracle
from nas.samplers._transfer import OPENED, LessonModel, shared
from nas.samplers.nas import NasSampler
from nas.search_space import SearchSpace
from nas.search_space.preflight import Subject
from nas.store import queries, schema, searches, tokens
from nas.store.searches import Wanted
from nas.store.store import Store
from nas.study import priors
from nas.study.lessons import CLOSE, FEWEST, lesson_of, with_lessons

WORTH = {"3": 0.0, "3.5": 0.1, 2: 0.0, 3: 0.02, 4: 0.05, 8: 0.0, 16: 0.2, 1: 0.0}
DEEPER = 0.04
FREE = Limits()


def tiny(text: str = SPACE) -> SearchSpace:
    """Return the space of the test searches: 24 assignments."""
    scope: dict[str, Any] = {}
    exec(text, scope)  # noqa: S102
    space: SearchSpace = scope["SPACE"]
    return space


def metric(values: Any) -> float:
    """Return a metric that every choice adds to."""
    deep = DEEPER if values["stage1.depth"] == 2 else 0.0
    return 0.5 + deep + sum(WORTH[v] for n, v in values.items() if n != "stage1.depth")


def lesson(name: str, sign: int = 1, space: SearchSpace | None = None, trials: int = 16) -> Lesson:
    """Return a study of so many draws; a negative sign makes its best networks the worst."""
    space, rng = space or tiny(), random.Random(name)
    drawn = {tuple(values.items()): values for values in (space.draw(rng) for _ in range(trials))}
    results = [(values, 0.5 + sign * (metric(values) - 0.5)) for values in drawn.values()]
    choices = {p.name: p.choices for p in space.parameters()}
    return Lesson.of(name, trials - 1, choices, results)


def oracle(
    *lessons: Lesson,
    weight: float = 0.0,
    limits: Limits = FREE,
    kind: str = "soft",
) -> SpaceOracle:
    """Return what is known of the tiny space."""
    goal = Objective(50_000, kind, weight)
    return SpaceOracle(Subject(tiny(), 3, 2), limits, goal, learn=lessons)


def searched(known: SpaceOracle, trials: int, seed: int = 0) -> tuple[list[Any], list[Any]]:
    """Search without training; return the assignments and what each proposal had learnt."""
    study = optuna.create_study(direction="maximize")
    return carry_on(study, known, trials, seed)


def carry_on(
    study: optuna.Study, known: SpaceOracle, trials: int, seed: int = 0
) -> tuple[list[Any], list[Any]]:
    """Go on with a study; see `searched`."""
    proposed, learnt = [], []
    for _ in range(trials):
        sampler = NasSampler(seed, oracle=known)
        trial = create_trial(state=optuna.trial.TrialState.RUNNING)
        names = sampler.infer_relative_search_space(study, trial)
        values = sampler.sample_relative(study, trial, names)
        look = known.look(values)
        study.add_trial(
            create_trial(
                params=values,
                distributions={name: known.distributions[name] for name in values},
                value=metric(values) * look.factor,
            )
        )
        proposed.append(values)
        learnt.append(sampler.last_learnt)
    return proposed, learnt


def test_a_lesson_comes_back_from_json() -> None:
    """Assignments, absent choices among them, and metrics are what they were."""
    parameters = {"block": ["skip", "conv"], "kernels": ["3", "5"]}
    results = [({"block": "skip"}, 0.25), ({"block": "conv", "kernels": "5"}, 0.75)]
    made = Lesson.of("s", 1, parameters, results)
    again = Lesson(**json.loads(json.dumps(made.to_json())))
    assert again.assignments() == [values for values, _ in results]
    assert list(again.metrics) == [0.25, 0.75]


def test_parameters_are_matched_by_name_and_values() -> None:
    """A parameter is shared that has two values in common; it then has the values of both."""
    own = {"width": [8, 16], "kernels": ["3", "5"], "depth": [1, 2], "fixed": [1]}
    others = {"width": [16, 8, 24], "kernels": ["7", "5"], "block": ["a", "b"], "fixed": [1]}
    assert shared(own, others) == {"width": (8, 16, 24)}


def test_a_model_of_a_lesson_ranks_what_it_has_not_seen() -> None:
    """Networks that the other study never trained are put in the order of their metrics."""
    taught = lesson("first", trials=14)
    known = oracle()
    seen = {tuple(values.items()) for values in taught.assignments()}
    rng = random.Random(5)
    left = [v for v in (known.draw(rng) for _ in range(100)) if tuple(v.items()) not in seen]
    expected = LessonModel(taught, known.distributions).expect(left)
    pairs = sorted(zip(expected.tolist(), map(metric, left), strict=True))
    top, bottom = pairs[len(pairs) // 2 :], pairs[: len(pairs) // 2]
    assert min(true for _, true in top[-3:]) > max(true for _, true in bottom[:3])


def test_the_opening_has_the_best_under_this_studys_own_costs() -> None:
    """The first proposal is the best network by the lesson, where cost counts a cheaper one."""
    free, paid = (searched(oracle(lesson("first"), weight=w), 1)[0][0] for w in (0.0, -1.0))
    every = [tiny().draw(random.Random(seed)) for seed in range(300)]
    assert metric(free) == pytest.approx(max(map(metric, every)))
    known = oracle(weight=-1.0)
    assert metric(paid) * known.look(paid).factor == pytest.approx(
        max(metric(values) * known.look(values).factor for values in every), rel=0.05
    )
    assert paid != free


def test_only_some_of_the_opening_is_the_lessons() -> None:
    """The other proposals are the draws that a study without lessons makes."""
    _, learnt = searched(oracle(lesson("first")), 6)
    assert [number for number, each in enumerate(learnt) if each] == list(OPENED)
    assert learnt[0] == {"first": 1.0}


def test_a_limit_holds_for_what_a_lesson_proposes() -> None:
    """Networks over a limit of this study are not proposed, however good they were elsewhere."""
    macs = sorted(oracle().subject.cost(tiny().draw(random.Random(n))).macs for n in range(60))
    limited = oracle(lesson("first"), limits=Limits(macs=macs[20]))
    proposed, _ = searched(limited, 8)
    assert max(limited.subject.cost(values).macs for values in proposed) <= macs[20]


def test_a_front_opens_with_networks_of_the_lessons_front() -> None:
    """No draw has a higher expected metric at the same or a lower cost."""
    known = oracle(lesson("first"), kind="pareto")
    values = searched(known, 1)[0][0]
    model, cost = known.lessons[0], known.look(values).cost
    rng = random.Random(1)
    cheaper = [v for v in (known.draw(rng) for _ in range(200)) if known.look(v).cost <= cost]
    assert max(model.expect(cheaper)) <= model.expect([values])[0] + 1e-9


def test_a_lesson_that_holds_counts_and_one_that_misleads_does_not() -> None:
    """After twelve trials the true one is worth more than it began with, the false one less."""
    known = oracle(lesson("true"), lesson("false", sign=-1))
    _, learnt = searched(known, 13)
    assert learnt[-1]["true"] > 0.25 > learnt[-1]["false"]


def test_a_resumed_study_proposes_as_if_not_interrupted() -> None:
    """Lessons that were read back, in another process's oracle, give the same proposals."""
    taught = lesson("first")
    whole, _ = searched(oracle(taught), 12)
    study = optuna.create_study(direction="maximize")
    begun, _ = carry_on(study, oracle(taught), 7)
    again = Lesson(**json.loads(json.dumps(taught.to_json())))
    rest, _ = carry_on(study, oracle(again), 5)
    assert begun + rest == whole


def test_a_space_learns_from_one_that_shares_parameters() -> None:
    """Values and parameters that only the other space has are left out; proposals are whole."""
    text = SPACE.replace('"3", "3.5"', '"3", "3.5", "7"').replace("depth=choice(1, 2)", "depth=2")
    wider = tiny(text)
    rng = random.Random(0)
    drawn = [wider.draw(rng) for _ in range(20)]
    worth = [0.5 + (each["stage1.width"] == 16) / 5 for each in drawn]
    parameters = {p.name: p.choices for p in wider.parameters()}
    taught = Lesson.of("wider", 19, parameters, list(zip(drawn, worth, strict=True)))
    proposed, _ = searched(oracle(taught), 8)
    assert proposed[0]["stage1.width"] == 16
    assert all(each.keys() == {p.name for p in tiny().parameters()} for each in proposed)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a store that has one study of eight trials, and one of three."""
    folder = tmp_path_factory.mktemp("learning")
    options: dict[str, object] = {"images": 16, "workers": 0, "sampler": "random"}
    for name, trials, epochs in (("teacher", 8, 1), ("short", 3, 3)):
        words = arguments(folder, study=name, trials=trials, epochs=epochs, **options)
        result(nas_here("search", *words, "--no-showcase", "--json"))
    return folder


def asked(folder: Path, study: str, *more: str, trials: int = 5) -> Any:
    """Search with another recipe in the same store; return how it ended."""
    words = arguments(folder, study=study, trials=trials, epochs=2, images=16, workers=0)
    return nas_here("search", *words, "--no-showcase", *more)


def config_of(folder: Path, study: str) -> Any:
    """Return a study's stored configuration."""
    with queries.connect(f"sqlite:///{folder}/nas.db") as connection:
        return queries.study(connection, study).config


def trials_of(folder: Path, study: str) -> list[optuna.trial.FrozenTrial]:
    """Return a study's trials."""
    return optuna.load_study(study_name=study, storage=f"sqlite:///{folder}/nas.db").trials


def test_a_search_learns_from_the_studies_of_its_store(stored: Path) -> None:
    """The pre-flight says from which, the study keeps them, a trial how much they counted."""
    ended = asked(stored, "pupil")
    assert ended.returncode == 0, ended.stderr
    (kept,) = config_of(stored, "pupil")["lessons"]
    assert (kept["study"], len(kept["metrics"])) == ("teacher", 8)
    said = f"from study teacher, 8 networks up to trial {kept['last']}; 4 of 4 parameters"
    assert f"learning: {said} are its own too\n" in ended.stderr
    told = [trial.user_attrs.get("learnt_from") for trial in trials_of(stored, "pupil")]
    assert told == [{"teacher": 1.0}, None, {"teacher": 1.0}, None, {"teacher": 1.0}]


def test_what_was_learnt_stays_when_the_teacher_grows(stored: Path) -> None:
    """A study that goes on has the lessons that it began with."""
    assert asked(stored, "steady").returncode == 0
    before = config_of(stored, "steady")["lessons"]
    words = arguments(
        stored, study="teacher", trials=10, images=16, epochs=1, workers=0, sampler="random"
    )
    result(nas_here("search", *words, "--no-showcase", "--json"))
    assert asked(stored, "steady", trials=6).returncode == 0
    assert config_of(stored, "steady")["lessons"] == before


def test_nothing_is_learnt_where_none_is_wanted(stored: Path) -> None:
    """`--learn-from none` opens as the first study of a store does."""
    assert asked(stored, "alone", "--learn-from", "none").returncode == 0
    assert "lessons" not in config_of(stored, "alone")
    assert not any("learnt_from" in trial.user_attrs for trial in trials_of(stored, "alone"))


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ("nobody", "No study named 'nobody'. Available: "),
        ("short", "--learn-from short: it has 3 complete trials; at least 8 teach."),
    ],
)
def test_a_study_that_teaches_nothing_is_refused(stored: Path, study: str, message: str) -> None:
    """It ends with status 2 and one message; no study is made."""
    ended = asked(stored, "refused", "--learn-from", study)
    assert ended.returncode == 2
    assert message in " ".join(ended.stderr.split())
    with queries.connect(f"sqlite:///{stored}/nas.db") as connection:
        assert not queries.exists(connection, "refused")


def test_a_search_of_the_service_learns_from_its_owners_alone(stored: Path, tmp_path: Path) -> None:
    """Another owner's study is no source, and not named as one; the operator learns from all."""
    shutil.copy(stored / "nas.db", tmp_path)
    url = f"sqlite:///{tmp_path}/nas.db"
    with closing(Store.open(url)) as store, store.write() as connection:
        for study, owner in (("teacher", "ann"), ("of-ann", "ann"), ("of-bob", "bob")):
            token = tokens.create(connection, study, ["submit"], owner=owner)[0]
            made, _ = searches.add(connection, token, Wanted(study, {}, {}))
            named = schema.SEARCHES.c.id == made.id
            connection.execute(schema.SEARCHES.update().where(named).values(id=study))
    config = replace(Config.from_json(config_of(stored, "short")), sampler="nas", lessons=())
    learnt = {name: with_lessons(config, url, name, None).lessons for name in ("of-ann", "of-bob")}
    assert [[each.study for each in found] for found in learnt.values()] == [["teacher"], []]
    asking = replace(config, learn_from=("teacher",))
    assert with_lessons(asking, url, "operator", None).lessons[0].study == "teacher"
    with pytest.raises(UserError, match="No study named 'teacher'") as refused:
        with_lessons(asking, url, "of-bob", None)
    assert "short" not in str(refused.value)


def test_a_study_that_is_named_teaches(stored: Path) -> None:
    """Only the named one does; under the same name no other may be named later."""
    assert asked(stored, "named", "--learn-from", "teacher").returncode == 0
    assert config_of(stored, "named")["learn_from"] == ["teacher"]
    assert [one["study"] for one in config_of(stored, "named")["lessons"]] == ["teacher"]
    again = asked(stored, "named", "--learn-from", "pupil")
    assert again.returncode != 0
    assert "learn_from" in again.stderr


def test_a_prior_teaches_a_first_search(tmp_path: Path) -> None:
    """Where there is no store yet: a named prior is kept with the study, and the trials show it."""
    ended = asked(tmp_path, "first", "--learn-from", "prior:cifar10")
    assert ended.returncode == 0, ended.stderr
    (kept,) = config_of(tmp_path, "first")["lessons"]
    assert kept == json.loads(json.dumps(priors.get("prior:cifar10").lesson.to_json()))
    assert f"learning: from prior:cifar10, {len(kept['metrics'])} networks; 1 of 4" in ended.stderr
    assert trials_of(tmp_path, "first")[0].user_attrs["learnt_from"] == {"prior:cifar10": 1.0}
    assert asked(tmp_path, "first", "--learn-from", "prior:cifar10", trials=6).returncode == 0


def test_priors_and_studies_teach_together(stored: Path) -> None:
    """Both that are named, and no other study."""
    named = ("--learn-from", "prior:cifar10", "--learn-from", "teacher")
    assert asked(stored, "both", *named).returncode == 0
    taught = [each["study"] for each in config_of(stored, "both")["lessons"]]
    assert taught == ["prior:cifar10", "teacher"]


def test_a_prior_without_a_file_is_refused(tmp_path: Path) -> None:
    """It ends with status 2 and names those there are; nothing is made."""
    ended = asked(tmp_path, "refused", "--learn-from", "prior:cifar")
    assert ended.returncode == 2
    assert "No prior named 'prior:cifar'. Did you mean 'prior:cifar10'?" in ended.stderr
    assert not (tmp_path / "nas.db").exists()


def test_a_prior_that_shares_nothing_is_refused(stored: Path) -> None:
    """The rule is named before a store is looked into."""
    space = tiny(SPACE.replace('"3", "3.5"', '"13", "15"'))
    config = replace(Config.from_json(config_of(stored, "short")), sampler="nas", lessons=())
    config = replace(config, space=space, learn_from=("prior:cifar10",))
    with pytest.raises(UserError, match="prior:cifar10: none of the 4 parameters"):
        with_lessons(config, "sqlite:///nowhere.db", "s", None)


@pytest.mark.parametrize("name", priors.names())
def test_priors_are_of_shipped_spaces(name: str) -> None:
    """Each teaches at least half of its space's parameters, by enough networks of the space."""
    prior = priors.get(name)
    space = search_space.load(prior.space)
    own = {each.name: each.choices for each in space.parameters() if len(each.choices) > 1}
    assert len(shared(own, prior.lesson.parameters)) >= CLOSE * len(own)
    assert len(prior.lesson.metrics) >= FEWEST
    assert all(0 < metric < 1 for metric in prior.lesson.metrics)
    for values in prior.lesson.assignments():
        space.decode(space.complete(values), in_channels=1, classes=2)


def test_a_prior_is_made_of_studies(stored: Path) -> None:
    """Its networks are the studies'; studies of other recipes are refused."""
    sources = [f"{stored}/nas.db:{name}" for name in ("teacher", "short")]
    prior = made("one", "words", sources[:1])
    with queries.connect(f"sqlite:///{stored}/nas.db") as connection:
        info = queries.study(connection, "teacher")
        taught = lesson_of(connection, info, queries.scored(connection, info.id))
    assert prior.lesson.assignments() == taught.assignments()
    assert prior.lesson.metrics == taught.metrics
    assert prior.space == info.config["space"]["name"]
    with pytest.raises(SystemExit, match="differ"):
        made("two", "words", sources)


def test_a_network_of_two_lessons_counts_once() -> None:
    """With its mean metric; the others as they are."""
    parameters = {"kernels": ["3", "5", "7"]}
    first = Lesson.of("a", 1, parameters, [({"kernels": "3"}, 0.2), ({"kernels": "5"}, 0.5)])
    second = Lesson.of("b", 1, parameters, [({"kernels": "7"}, 0.9), ({"kernels": "3"}, 0.4)])
    both = merged("prior:both", [first, second])
    assert [values["kernels"] for values in both.assignments()] == ["3", "5", "7"]
    assert both.metrics == pytest.approx([0.3, 0.5, 0.9])
    assert (both.study, both.last) == ("prior:both", 2)


def test_a_prior_is_compared_with_other_networks() -> None:
    """A lesson of the same space ranks them well, its reverse badly; what it has is left out."""
    taught, other = lesson("first", trials=10), lesson("second", trials=60)
    known = [*map(dict, taught.assignments())]
    found = ranked(taught, other)
    assert found["networks"] == sum(values not in known for values in other.assignments()) > 3
    assert found["rank_correlation"] > 0.7
    assert ranked(lesson("first", sign=-1, trials=10), other)["rank_correlation"] < -0.7
    low, high = found["interval"]
    assert low <= found["rank_correlation"] <= high
