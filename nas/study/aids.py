"""The teacher and the images without labels of a study's trainings.

Options name them; the recipe holds the digests of their content. A teacher's weights are kept with
the study's checkpoints, so that each worker finds them; images are read where they lie.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nas.config import CACHE, Config, cache_dir
from nas.data import DataSet
from nas.data.unlabelled import Unlabelled, load_unlabelled
from nas.errors import UserError
from nas.network import cost
from nas.quantities import from_here, short
from nas.study.options import SearchOptions
from nas.training.methods import METHODS, Aids, check
from nas.training.recipe import Recipe

if TYPE_CHECKING:
    from nas.training.sources import Source


@dataclass(frozen=True)
class GivenAids:
    """The teacher and the images without labels that options name."""

    teacher: "Source | None" = None
    unlabelled: Unlabelled | None = None

    @property
    def digests(self) -> dict[str, str]:
        """Their digests by the recipe's fields; without those that are not given."""
        pairs = {"teacher": self.teacher, "unlabelled": self.unlabelled}
        return {name: each.digest for name, each in pairs.items() if each is not None}

    @property
    def sources(self) -> "tuple[Source, ...]":
        """The weights that are kept with the study."""
        return () if self.teacher is None else (self.teacher,)

    def check(self, recipe: Recipe) -> None:
        """Refuse a method without its aids, and aids without their method."""
        check(recipe)
        if METHODS[recipe.method].reads and self.unlabelled is None:
            raise UserError(f"The method {recipe.method} needs images: --unlabelled FOLDER.")

    def of(self, data: DataSet) -> Aids:
        """Return the teacher alone, for data, as a step's time is measured with it."""
        from nas.training.teachers import Teacher

        return Aids() if self.teacher is None else Aids(Teacher.of(self.teacher, data))


def given_aids(options: SearchOptions, data: DataSet, say: Callable[[str], None]) -> GivenAids:
    """Find the aids that options name; `say` hears what they are.

    Raises UserError for a teacher that is none, of other classes or channels.
    """
    if options.teacher is None:
        return GivenAids()
    from nas.study.sources import resolve
    from nas.training.teachers import Teacher

    teacher = resolve(options.teacher, options.store)
    Teacher.of(teacher, data)
    params = short(cost(teacher.architecture).params)
    say(f"teacher {teacher.name}: {teacher.architecture.id}, {params} parameters")
    if (by := teacher.trained_by) is not None and by.fingerprint == data.fingerprint:
        if by.folds > 1:
            raise UserError(
                f"A teacher of {data.name!r} has not seen its validation images, which are scored; "
                f"{teacher.name} was trained on {by.folds} folds, so on all of them."
            )
    elif by is not None:
        say(f"the teacher was trained on {by.data}: its classes are taken in their order")
    if options.unlabelled is None:
        return GivenAids(teacher)
    images = load_unlabelled(options.unlabelled, data, Path(options.out, CACHE))
    say(f"{images.count:,} images without labels below {from_here(Path(options.unlabelled))}")
    return GivenAids(teacher, images)


def aids_of(config: Config, recipe: Recipe, data: DataSet) -> Aids:
    """Return the aids that a recipe of a study names, as its workers find them.

    Raises UserError where they are gone or others now.
    """
    if not recipe.sources:
        return Aids()
    from nas.training.sources import kept
    from nas.training.teachers import Teacher

    teacher, unlabelled, root = None, None, config.checkpoint_root
    start = kept(root, recipe.start) if recipe.start else None
    if recipe.teacher:
        teacher = Teacher.of(kept(root, recipe.teacher), data)
    if recipe.unlabelled and config.unlabelled is not None:
        unlabelled = load_unlabelled(config.unlabelled, data, cache_dir(config.folder))
    return Aids(teacher, unlabelled, start)
