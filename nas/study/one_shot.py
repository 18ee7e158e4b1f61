"""A lesson of the study's own: its networks compared by a supernet before any is trained alone."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from nas.architecture import Architecture, Value
from nas.config import Config
from nas.data import DataSet
from nas.errors import UserError
from nas.quantities import duration
from nas.samplers._lesson import Lesson
from nas.search_space.preflight import draw_near
from nas.study.options import ONE_SHOT
from nas.training.metrics import gain
from nas.training.supernet import Child, Course

NETWORKS = 100  # that share the weights and are scored, near the target
DRAWS = 20  # for each of them, at most
FEWEST = 20  # of the networks, and of the updates, that teach
SHARE = 0.2  # of a time limit that the supernet may take
TIMED = 4  # updates that are timed first
EVERY = 10.0  # seconds between two words about the progress
Say = Callable[[str], None]


def lesson(config: Config, data: DataSet, seconds: float | None, say: Say) -> Lesson:
    """Train a supernet of networks near the target, score them by it, and make a lesson of it.

    It has as many updates as one training of a trial; fewer updates, then networks, where a share
    of the `seconds` of a time limit allows no more. Raises UserError where that is too short.
    """
    drawn = _drawn(config)
    course = Course([Child(network) for _, network in drawn], data, config.recipe)
    updates, count = course.updates, len(drawn)
    if seconds is not None:
        updates, count = _affordable(course, SHARE * seconds)
    net = course.train(updates, step=_Told(say, updates))
    say(f"supernet: {updates} updates are made; {count} networks are scored by its weights")
    metric = config.recipe.metric
    results = [
        (values, gain(metric, course.score(net, child)[metric]))
        for (values, _), child in zip(drawn[:count], course.children, strict=False)
    ]
    choices = {p.name: p.choices for p in config.space.parameters() if len(p.choices) > 1}
    return Lesson.of(ONE_SHOT, count - 1, choices, results)


def _drawn(config: Config) -> list[tuple[dict[str, Value], Architecture]]:
    """Return different networks within the limits, drawn near the target as a search opens."""
    rng = random.Random(config.seed)
    drawn: dict[str, tuple[dict[str, Value], Architecture]] = {}
    for _ in range(DRAWS * NETWORKS):
        values = draw_near(config.subject, config.objective, rng)
        network = config.subject.decode(values)
        if config.limits.violation(config.subject.price(network)) is None:
            drawn.setdefault(network.id, (values, network))
        if len(drawn) == NETWORKS:
            break
    if len(drawn) < FEWEST:
        raise UserError(
            f"--learn-from {ONE_SHOT}: {len(drawn)} different networks were drawn within the "
            f"limits; at least {FEWEST} teach."
        )
    return list(drawn.values())


def _affordable(course: Course, seconds: float) -> tuple[int, int]:
    """Return how many updates, and scores of networks, so many seconds allow: half for each."""
    clock, ends = time.perf_counter(), list[float]()
    net = course.train(TIMED, step=lambda _: ends.append(time.perf_counter()))
    course.score(net, course.ends[0])
    now = time.perf_counter()
    update, score = (ends[-1] - ends[0]) / (TIMED - 1), now - ends[-1]
    seconds -= now - clock
    scores = min(len(course.children), int(seconds / 2 / score))
    updates = min(course.updates, int((seconds - scores * score) / update))
    least = min(FEWEST, course.updates)
    if updates < least or scores < FEWEST:
        needed = duration(2 * max(least * update, FEWEST * score) / SHARE)
        raise UserError(
            f"--learn-from {ONE_SHOT}: a supernet may take {SHARE:.0%} of the time limit; that is "
            f"too little here under a limit of {needed}."
        )
    return updates, scores


@dataclass
class _Told:
    """Says how far a training is, every few seconds."""

    say: Say
    updates: int
    began: float = field(default_factory=time.monotonic)
    last: float = field(default_factory=time.monotonic)

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if now - self.last >= EVERY:
            self.last = now
            left = (now - self.began) / done * (self.updates - done)
            self.say(f"supernet: {done} of {self.updates} updates, {duration(left)} left")
