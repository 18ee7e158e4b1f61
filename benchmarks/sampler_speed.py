"""How long a proposal of our sampler takes, by the number of trials that the study has.

    python -m benchmarks.sampler_speed [--trials 50,500,1000,10000] [--repeats 5]

In memory, 20 categorical choices: alone, told what networks cost, as a worker tells it, and taught
by five other studies of 100 networks besides. The sampler is made anew for each proposal, as a
worker does; the oracle is kept. Medians of processor time in milliseconds; the first proposal,
which fills what is kept, is told apart.
"""

import argparse
import random
import statistics
import time

import optuna
from optuna import Study
from optuna.trial import create_trial

from benchmarks.overhead import space
from nas import samplers
from nas.cost import Limits
from nas.objective import Objective
from nas.samplers._lesson import Lesson
from nas.samplers._space import SpaceOracle
from nas.samplers.nas import NasSampler
from nas.search_space.preflight import Subject

TARGET = 20_000_000
LESSONS, TAUGHT = 5, 100  # studies that are learnt from, and the networks of each


def study_of(known: SpaceOracle, trials: int, seed: int = 0) -> Study:
    """Return a study with so many complete trials of random networks and made-up scores."""
    rng = random.Random(seed)
    study = optuna.create_study(direction="maximize")
    made = []
    for _ in range(trials):
        values = dict(known.draw(rng))
        look = known.look(values)
        made.append(
            create_trial(
                params=values,
                distributions={name: known.distributions[name] for name in values},
                value=(0.7 + 0.02 * look.numbers[0] + rng.gauss(0, 0.01)) * look.factor,
                user_attrs={"architecture_id": look.key},
            )
        )
    study.add_trials(made)
    return study


def lesson(known: SpaceOracle, seed: int) -> Lesson:
    """Return what another study of the same space teaches."""
    trials = study_of(known, TAUGHT, seed).trials
    choices = {name: each.choices for name, each in known.distributions.items()}
    return Lesson.of(f"study{seed}", TAUGHT, choices, [(t.params, t.value or 0.0) for t in trials])


def measure(study: Study, known: SpaceOracle | None, repeats: int) -> tuple[float, float]:
    """Return the milliseconds of the first proposal and the median of the next ones."""
    times = []
    asked = space()
    for seed in range(repeats + 1):
        began = time.process_time()
        samplers.propose(asked, study, NasSampler(seed, oracle=known))
        times.append(1000 * (time.process_time() - began))
    return times[0], statistics.median(times[1:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", default="50,500,1000,10000")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    subject = Subject(space(), 3, 10)
    for trials in map(int, options.trials.split(",")):
        known = SpaceOracle(subject, Limits(), Objective(TARGET))
        study = study_of(known, trials)
        lessons = [lesson(known, seed) for seed in range(1, LESSONS + 1)]
        taught = SpaceOracle(subject, Limits(), Objective(TARGET), learn=lessons)
        for name, oracle in (("alone", None), ("told costs", known), ("five lessons", taught)):
            first, later = measure(study, oracle, options.repeats)
            print(f"{trials:6} trials, {name:12}: {later:6.1f} ms, the first {first:6.1f} ms")


if __name__ == "__main__":
    main()
