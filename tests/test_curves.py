"""Ends of trainings forecast from their first epochs: calibration, the pruner, what it says."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import table_kit
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState, create_trial
from scipy.stats import t as student
from store_kit import file_url

from benchmarks import pruning
from nas.pruners.curves import FEWEST, LEVEL, CurvesPruner, forecast
from nas.study import worker

EPOCHS = 8
Floats = NDArray[np.float64]


def curves(count: int, seed: int = 0) -> Floats:
    """Draw curves of shares (count, EPOCHS) that rise late, as under a cosine, with noise."""
    rng = np.random.default_rng(seed)
    skill, noise = rng.normal(1.0, 0.5, count), rng.normal(0, 0.15, (count, EPOCHS))
    progress = 1 - np.cos(np.pi * np.arange(1, EPOCHS + 1) / EPOCHS)
    odds = -2 + skill[:, None] * progress + 0.8 * progress + noise
    return np.asarray(1 / (1 + np.exp(-odds)))


def at(scores: Floats, epoch: int) -> Floats:
    """Return the values at an epoch and at the one before."""
    return scores[:, [epoch - 1, epoch - 2]]


def study_of(scores: Floats, factors: Floats | None = None, sign: int = 1) -> optuna.Study:
    """Return a study with these whole curves, whose trials have their factors as attributes."""
    study = optuna.create_study(direction="maximize" if sign > 0 else "minimize")
    factors = np.ones(len(scores)) if factors is None else factors
    for curve, factor in zip(scores, factors, strict=True):
        values = [sign * factor * value for value in curve.tolist()]
        study.add_trial(
            create_trial(
                value=values[-1],
                intermediate_values=dict(enumerate(values, 1)),
                user_attrs={"factor": factor},
            )
        )
    return study


def begun(curve: Floats, factor: float = 1.0, sign: int = 1) -> FrozenTrial:
    """Return a running trial with these first epochs."""
    values = [sign * factor * value for value in curve.tolist()]
    return create_trial(
        state=TrialState.RUNNING,
        intermediate_values=dict(enumerate(values, 1)),
        user_attrs={"factor": factor},
    )


def factor_of(trial: FrozenTrial) -> float:
    """Return the factor that a trial was made with."""
    return float(trial.user_attrs["factor"])


@pytest.mark.parametrize("known", [5, 40])
@pytest.mark.parametrize("epoch", [2, 6])
def test_nine_of_ten_ends_lie_in_their_interval(known: int, epoch: int) -> None:
    """With few curves too; and the chance to be above a value is how often that is so."""
    inside, chances, above = [], [], []
    for seed in range(60):
        scores = curves(known + 40, seed)
        some, rest = scores[:known], scores[known:]
        told = forecast(at(some, epoch), some[:, -1], at(rest, epoch))
        odds = np.log((rest[:, -1] + 0.005) / (1.005 - rest[:, -1]))
        low, high = student(told.freedom, told.means, told.scales).interval(0.9)
        inside.append(((low < odds) & (odds < high)).mean())
        chances.append(told.chances(0.8).mean())
        above.append((rest[:, -1] > 0.8).mean())
    assert np.mean(inside) == pytest.approx(0.9, abs=0.04)
    assert np.mean(chances) == pytest.approx(np.mean(above), abs=0.03)


def test_a_forecast_is_wider_with_fewer_curves_and_narrower_near_the_end() -> None:
    """The standard deviation of the same curve's end."""
    scores = curves(60)
    spreads = {
        (known, epoch): forecast(
            at(scores[:known], epoch), scores[:known, -1], at(scores[50:], epoch)
        )
        .values()[1]
        .mean()
        for known in (4, 40)
        for epoch in (2, 7)
    }
    assert spreads[4, 7] > spreads[40, 7]
    assert spreads[40, 2] > spreads[40, 7]


def test_equal_curves_and_values_beyond_shares_are_forecast() -> None:
    """Finite, and on the values' own scale."""
    flat = np.full((5, 2), 0.1)
    told = forecast(flat, np.full(5, 0.9), flat[:1])
    assert told.values()[0] == pytest.approx([0.9])
    large = forecast(
        np.array([[1.0, 0], [2, 1], [3, 2]]), np.array([5.0, 6, 7]), np.array([[2.0, 1]])
    )
    assert large.values()[0] == pytest.approx([6.0])


def test_a_poor_training_is_stopped_and_the_reason_has_the_chance() -> None:
    """The best curve goes on; a poor one is stopped, of which the pruner gives the probability."""
    scores = curves(30)
    best, worst = scores[scores[:, -1].argmax()], scores[scores[:, -1].argmin()]
    study, pruner = study_of(scores), CurvesPruner()
    assert not pruner.prune(study, begun(np.minimum(best[:6] + 0.02, 1)))
    assert pruner.reason is None
    assert pruner.last_chance is not None
    assert pruner.last_chance > LEVEL
    assert pruner.prune(study, begun(worst[:6]))
    assert pruner.last_chance < LEVEL / 31
    assert f"{pruner.last_chance:.2g}" in str(pruner.reason)


def test_nothing_is_stopped_before_there_are_whole_curves() -> None:
    """Nor before the first report."""
    scores = curves(FEWEST - 1)
    assert not CurvesPruner().prune(study_of(scores), begun(np.full(6, 0.01)))
    assert not CurvesPruner().prune(study_of(curves(30)), begun(np.zeros(0)))


def test_the_part_of_the_cost_in_the_score_is_exact() -> None:
    """A chance is that of the metric to be above the best score over the network's own factor."""
    scores = curves(30)
    factors = np.random.default_rng(1).uniform(0.7, 1.0, 30)
    study, trial = study_of(scores, factors), begun(scores[3, :5], 0.95)
    pruner = CurvesPruner(factor_of)
    pruner.prune(study, trial)
    told = forecast(at(scores, 5), scores[:, -1], at(scores[3:4], 5))
    expected = told.chances(float((factors * scores[:, -1]).max()) / 0.95)[0]
    assert pruner.last_chance == pytest.approx(expected)
    assert pruner.prune(study, begun(scores[3, :5], 0.4))
    assert pruner.last_chance == 0  # its metric would have to be above 1


def test_a_study_that_minimises_is_judged_alike() -> None:
    """The same curves with their signs changed, in another order, have the same chances."""
    scores = curves(30)
    chances = []
    for sign, order in ((1, range(30)), (-1, reversed(range(30)))):
        pruner = CurvesPruner()
        pruner.prune(study_of(scores[list(order)], sign=sign), begun(scores[3, :5], sign=sign))
        chances.append(pruner.last_chance)
    raw = forecast(-at(-scores, 5), scores[:, -1], at(scores[3:4], 5)).chances(scores[:, -1].max())
    assert chances == pytest.approx([raw[0], raw[0]])


def test_few_of_the_trainings_that_would_win_are_stopped() -> None:
    """In searches through drawn curves: at most the stated share, and epochs are saved."""
    lost, winners, saved = 0, 0, 0
    for seed in range(12):
        run = pruning.replay(curves(60, seed), "curves", seed)
        lost, winners = lost + run.winners_stopped, winners + run.winners
        saved += run.saved
    assert winners > 30
    assert lost <= LEVEL * winners
    assert saved > 0.15 * 12 * 60 * EPOCHS


def test_a_study_keeps_the_reason_with_the_trial_and_in_its_log(tmp_path: Path) -> None:
    """A worker of a study with `--pruner curves`: stopped trials say their chance."""
    url = file_url(tmp_path)
    config = table_kit.study(url, tmp_path, pruner="curves")
    order = worker.WorkOrder(url, table_kit.STUDY, worker="host:1:0", trials=16)
    worker.work(order, lambda: False, table_kit.Table())
    trials = optuna.load_study(study_name=table_kit.STUDY, storage=url).trials
    stopped = [each for each in trials if each.state == TrialState.PRUNED]
    assert stopped
    assert sum(each.state == TrialState.COMPLETE for each in trials) >= FEWEST
    for each in stopped:
        assert "beats the best so far with a chance of" in each.user_attrs["reason"]
        assert each.last_step is not None
        assert each.last_step < table_kit.EPOCHS
    log = Path(config.folder, "logs", f"trial-{stopped[0].number:05d}.jsonl").read_text()
    assert json.loads(log.splitlines()[-1])["reason"] == stopped[0].user_attrs["reason"]


def write(folder: Path, scores: Floats) -> Path:
    """Write curves as `benchmarks.search.real` does."""
    folder.mkdir()
    names = ["id", "seed", *(f"epoch_{n}" for n in range(1, scores.shape[1] + 1))]
    rows = [[str(i), "0", *(f"{100 * v:.4f}" for v in row)] for i, row in enumerate(scores)]
    (folder / "trainings.csv").write_text("\n".join(map(",".join, [names, *rows])) + "\n")
    return folder


def test_pruners_are_compared_on_stored_curves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a pruner all epochs are spent; a mistake is one message and exit status 2."""
    folder, out = write(tmp_path / "drawn", curves(30)), tmp_path / "out.json"
    words = ["--tables", str(folder), "--searches", "3", "--json", str(out)]
    assert pruning.main(words) == 0
    table: dict[str, Any] = json.loads(out.read_text())["tables"]["drawn"]
    found = table["pruners"]
    assert found["none"]["epochs_spent"]["mean"] == 1.0
    assert found["hyperband"]["epochs_spent"]["mean"] < 1.0
    for name in ("median", "curves"):
        assert found[name]["saved"] == pytest.approx(
            1 - found[name]["epochs_spent"]["mean"], abs=1e-4
        )
    assert [each["known"] for each in table["forecasts"][:: EPOCHS - 1]] == [5, 10, 20]
    assert "drawn: 30 networks, 8 epochs" in capsys.readouterr().out
    assert pruning.main(["--tables", str(tmp_path / "none")]) == 2
    assert pruning.main([*words, "--pruners", "mean"]) == 2
    assert "'mean'" in capsys.readouterr().err


def test_a_replay_trains_each_network_once() -> None:
    """Whatever the pruner: no network is lost or repeated, and the best never falls."""
    scores = curves(20)
    for name in ("none", "median", "hyperband", "successive_halving", "curves"):
        run = pruning.replay(scores, name, seed=random.Random(name).randrange(9))
        best = [score for _, score in run.bests]
        assert best == sorted(best)
        assert run.spent <= scores.size
        if name == "none":
            assert best[-1] == scores[:, -1].max()
