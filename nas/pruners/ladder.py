"""Multi-fidelity: a ladder of short trainings, and the rules of promotion over plain rows.

A network is trained up to a rung; the best of each rung are promoted to the next. Promotions follow
from the stored trials alone, so that any worker can ask at any time and none has to wait.
Successive halving: Li et al., "A System for Massively Parallel Hyperparameter Tuning",
arXiv:1810.05934. Hyperband: Li et al., arXiv:1603.06560.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from nas.errors import UserError, unknown

FIDELITIES = ("epochs", "data", "resolution")
DEFAULT = "epochs"
REDUCTION = 3
MAX_RUNGS = 4  # the lowest is a 27th of a training: a shorter one tells nothing


@dataclass(frozen=True)
class Rung:
    """The part of a training that ends at epoch `epochs`.

    `data` is the share of the train split's images, `resolution` that of the network's own.
    """

    epochs: int
    data: float = 1.0
    resolution: float = 1.0

    @property
    def is_whole(self) -> bool:
        """Tell whether it uses all images at full resolution."""
        return self.data == self.resolution == 1.0

    def pixels(self, resolution: int) -> int:
        """Return the side of the images, a multiple of 4, for a network of this resolution."""
        if self.resolution == 1.0:
            return resolution
        return min(resolution, max(4, 4 * round(resolution * self.resolution / 4)))


def check(fidelity: str, reduction: int) -> None:
    """Refuse an unknown fidelity and a reduction factor out of range."""
    if fidelity not in FIDELITIES:
        raise UserError(unknown("fidelity", fidelity, FIDELITIES))
    if not 2 <= reduction <= 10:
        raise UserError(f"--reduction is a whole number from 2 to 10, not {reduction}.")


def ladder(epochs: int, fidelity: str = DEFAULT, reduction: int = REDUCTION) -> tuple[Rung, ...]:
    """Return the rungs of a training of this many epochs, the lowest first, the whole one last.

    Training up to a rung costs about 1 / reduction of training up to the next. With the fidelity
    `data` or `resolution` a cost of c is sqrt(c) of the epochs on sqrt(c) of the images, or of the
    pixels.
    """
    check(fidelity, reduction)
    rungs = [Rung(epochs)]
    for level in range(1, MAX_RUNGS):
        cost = float(reduction) ** -level
        share = cost if fidelity == "epochs" else cost**0.5
        last = round(epochs * share)
        if epochs * share < 1 or last >= rungs[-1].epochs:
            break
        data = round(share, 4) if fidelity == "data" else 1.0
        # Pixels grow with the square of the side.
        resolution = round(share**0.5, 4) if fidelity == "resolution" else 1.0
        rungs.append(Rung(last, data, resolution))
    return tuple(reversed(rungs))


@dataclass(frozen=True, kw_only=True)
class RungTrial:
    """A study's trial of a network under a recipe at one fidelity, in epochs.

    Networks are told apart by their `key`: one that is trained under two recipes counts as two.
    `score` is None while the trial runs, and where it failed.
    """

    architecture_id: str
    fidelity: int
    ended: bool
    score: float | None
    number: int
    evaluation_id: int
    recipe_hash: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """The architecture and its recipe."""
        return self.architecture_id, self.recipe_hash


@dataclass(frozen=True)
class Schedule:
    """The epochs at which trainings stop (`rungs`, the whole training last), and the promotions.

    With `brackets` it is Hyperband: networks begin at different rungs and compete with others of
    the same first rung. Without, all begin at the lowest: successive halving. One rung is neither.
    """

    rungs: tuple[int, ...]
    reduction: int = REDUCTION
    brackets: bool = False

    @property
    def shares(self) -> list[int]:
        """The number of networks in a round of Hyperband that begin at each rung, of equal cost.

        Algorithm 1 of arXiv:1603.06560: with s rungs above, (s_max + 1) eta^s / (s + 1).
        """
        highest = len(self.rungs) - 1
        above = range(highest, -1, -1)
        return [-(-(highest + 1) * self.reduction**s // (s + 1)) for s in above]

    def describe(self) -> str:
        """Describe the rungs and the promotions."""
        if len(self.rungs) == 1:
            return f"no rung below {self.rungs[0]} epochs: every network is trained to the end"
        *lower, top = self.rungs
        counts = f"; {', '.join(map(str, self.shares))} of {sum(self.shares)} networks begin there"
        return (
            f"rungs at {', '.join(map(str, lower))} and {top} epochs{counts * self.brackets}; the "
            f"best 1 in {self.reduction} of a rung go on"
        )

    def base(self, trials: Sequence[RungTrial]) -> int:
        """Return the fidelity at which the next new network begins.

        Of the brackets, the one that is furthest behind its share.
        """
        if not self.brackets:
            return self.rungs[0]
        begun = Counter(lowest for lowest, _ in _spans(trials).values())
        shares = dict(zip(self.rungs, self.shares, strict=True))
        return min(self.rungs, key=lambda rung: ((begun[rung] + 1) / shares[rung], rung))

    def promotion(
        self, trials: Sequence[RungTrial], *, closing: bool = False
    ) -> tuple[RungTrial, int] | None:
        """Return the trial whose network is promoted now, and its next rung; None without one.

        The network is among the best 1 / reduction of its rung so far, and was not promoted yet;
        failed ones count towards the quota but take no place in it. The highest rung is asked
        first. When the search is `closing`, the best of each rung may go on, so that a network
        reaches the top.
        """
        spans = _spans(trials)
        failed = {t.key for t in trials if t.ended and t.score is None}
        for rung, following in reversed(list(pairwise(self.rungs))):
            pools: dict[int, list[RungTrial]] = defaultdict(list)  # by bracket
            for trial in trials:
                if trial.fidelity == rung and trial.ended:
                    pools[spans[trial.key][0] if self.brackets else 0].append(trial)
            promotable: list[RungTrial] = []
            for pool in pools.values():
                sound = [trial for trial in pool if trial.key not in failed]
                quota = max(len(pool) // self.reduction, int(closing))
                best = sorted(sound, key=_rank)[:quota]
                promotable += [t for t in best if spans[t.key][1] == rung]
            if promotable:
                return min(promotable, key=_rank), following
        return None


def _rank(trial: RungTrial) -> tuple[float, int]:
    """Order by score, the best first, then by number."""
    return -(trial.score or 0.0), trial.number


def _spans(trials: Iterable[RungTrial]) -> dict[tuple[str, str], tuple[int, int]]:
    """Return each network's lowest fidelity, which is its bracket, and its highest."""
    fidelities: dict[tuple[str, str], list[int]] = defaultdict(list)
    for trial in trials:
        fidelities[trial.key].append(trial.fidelity)
    return {network: (min(each), max(each)) for network, each in fidelities.items()}
