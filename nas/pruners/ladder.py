"""Multi-fidelity: a ladder of short trainings, and who may climb it. Pure rules over plain rows.

A network is trained up to a rung; the best of each rung are promoted: they go on to the next. All
is asked of what is stored, so that any worker can ask at any time and none has to wait.
Successive halving: Li et al., "A System for Massively Parallel Hyperparameter Tuning",
arXiv:1810.05934. Hyperband: Li et al., arXiv:1603.06560.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nas.errors import UserError, unknown

FIDELITIES = ("epochs", "data", "resolution")
DEFAULT = "epochs"
REDUCTION = 3
MAX_RUNGS = 4  # the lowest is a 27th of a training: one that is shorter says nothing


@dataclass(frozen=True)
class Rung:
    """A part of a training: up to epoch `epochs` it sees less than it sees in the end.

    `data` is the share of the train split's images, `resolution` that of the network's own.
    """

    epochs: int
    data: float = 1.0
    resolution: float = 1.0

    @property
    def is_whole(self) -> bool:
        """Tell whether nothing is left out."""
        return self.data == self.resolution == 1.0

    def pixels(self, resolution: int) -> int:
        """Return the side of the images, a multiple of 4, for a network of this resolution."""
        if self.resolution == 1.0:
            return resolution
        return min(resolution, max(4, 4 * round(resolution * self.resolution / 4)))


def check(fidelity: str, reduction: int) -> None:
    """Refuse an unknown fidelity, and a reduction factor that reduces nothing or all."""
    if fidelity not in FIDELITIES:
        raise UserError(unknown("fidelity", fidelity, FIDELITIES))
    if not 2 <= reduction <= 10:
        raise UserError(f"--reduction is a whole number from 2 to 10, not {reduction}.")


def ladder(epochs: int, fidelity: str = DEFAULT, reduction: int = REDUCTION) -> tuple[Rung, ...]:
    """Return the rungs of a training of this many epochs, the lowest first, the whole one last.

    Training up to a rung costs about 1 / reduction of training up to the next. Where data or
    resolution is what is saved, it is saved half on that and half on epochs: a cost of c is
    sqrt(c) of the epochs on sqrt(c) of the images, or of the pixels.
    """
    check(fidelity, reduction)
    rungs = [Rung(epochs)]
    for level in range(1, MAX_RUNGS):
        cost = float(reduction) ** -level
        share = cost if fidelity == "epochs" else cost**0.5
        last = round(epochs * share)
        if epochs * share < 1 or last >= rungs[-1].epochs:
            break
        rungs.append(_rung(last, fidelity, share))
    return tuple(reversed(rungs))


def _rung(epochs: int, fidelity: str, share: float) -> Rung:
    if fidelity == "data":
        return Rung(epochs, data=round(share, 4))
    if fidelity == "resolution":  # pixels grow with the square of the side
        return Rung(epochs, resolution=round(share**0.5, 4))
    return Rung(epochs)


@dataclass(frozen=True, kw_only=True)
class RungTrial:
    """A network at one fidelity, in epochs, as a study has it.

    `score` is None while it runs, and where it failed.
    """

    architecture_id: str
    fidelity: int
    ended: bool
    score: float | None
    number: int
    evaluation_id: int


@dataclass(frozen=True)
class Schedule:
    """At which epochs trainings stop (`rungs`, the whole training last), and which of them go on.

    With `brackets` it is Hyperband: networks begin at different rungs and compete with those that
    began at the same. Without, all begin at the lowest: successive halving. One rung is neither.
    """

    rungs: tuple[int, ...]
    reduction: int = REDUCTION
    brackets: bool = False

    @property
    def shares(self) -> list[int]:
        """How many networks of a round of Hyperband begin at each rung: about equal cost each.

        Algorithm 1 of arXiv:1603.06560: with s rungs above, (s_max + 1) eta^s / (s + 1).
        """
        highest = len(self.rungs) - 1
        above = range(highest, -1, -1)
        return [-(-(highest + 1) * self.reduction**s // (s + 1)) for s in above]

    def describe(self) -> str:
        """Say where trainings stop and who goes on."""
        if len(self.rungs) == 1:
            return f"no rung below {self.rungs[0]} epochs: every network is trained to the end"
        *lower, top = self.rungs
        counts = f"; {', '.join(map(str, self.shares))} of {sum(self.shares)} networks begin there"
        return (
            f"rungs at {', '.join(map(str, lower))} and {top} epochs{counts * self.brackets}; the "
            f"best 1 in {self.reduction} of a rung go on"
        )

    def base(self, seen: Sequence[RungTrial]) -> int:
        """Return the fidelity at which the next new network begins.

        Of the brackets, the one that is furthest behind its share.
        """
        if not self.brackets:
            return self.rungs[0]
        begun = Counter(_begun_at(seen).values())
        shares = dict(zip(self.rungs, self.shares, strict=True))
        return min(self.rungs, key=lambda rung: ((begun[rung] + 1) / shares[rung], rung))

    def promotion(
        self, seen: Sequence[RungTrial], *, closing: bool = False
    ) -> tuple[RungTrial, int] | None:
        """Return which network goes on now and up to which epoch; None where none may.

        It is among the best 1 / reduction of its rung so far, and was not promoted yet; what failed
        counts, but its place is another's. The highest rung is asked first. When the search is
        `closing`, the best of a rung may go on however few they are: somebody reaches the top.
        """
        begun, reached = _begun_at(seen), _reached(seen)
        failed = {one.architecture_id for one in seen if one.ended and one.score is None}
        for rung, following in reversed(list(zip(self.rungs, self.rungs[1:], strict=False))):
            free: list[RungTrial] = []
            for base in self.rungs[: self.rungs.index(rung) + 1]:
                pool = [
                    one
                    for one in seen
                    if one.fidelity == rung and begun[one.architecture_id] == base and one.ended
                ]
                sound = [one for one in pool if one.architecture_id not in failed]
                quota = max(len(pool) // self.reduction, int(closing))
                best = sorted(sound, key=_rank)[:quota]
                free += [one for one in best if reached[one.architecture_id] == rung]
            if free:
                return min(free, key=_rank), following
        return None


def _rank(one: RungTrial) -> tuple[float, int]:
    """Order the best first; of equals, who was first."""
    return -(one.score or 0.0), one.number


def _begun_at(seen: Iterable[RungTrial]) -> dict[str, int]:
    """Return each network's bracket: the lowest fidelity that the study has of it."""
    begun: dict[str, int] = {}
    for one in seen:
        begun[one.architecture_id] = min(one.fidelity, begun.get(one.architecture_id, one.fidelity))
    return begun


def _reached(seen: Iterable[RungTrial]) -> dict[str, int]:
    reached: dict[str, int] = {}
    for one in seen:
        reached[one.architecture_id] = max(one.fidelity, reached.get(one.architecture_id, 0))
    return reached
