"""The verb about data sets: show. Importing this module imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from nas.commands._options import Help, argument, silent
from nas.files import check_folder, writing
from nas.report.tables import Lines, Table

if TYPE_CHECKING:
    from nas.data.inspection import Inspection
    from nas.training.recipe import Recipe

PICTURE = "samples.png"
NAMED = 5  # files
MANY = 20_000  # images: looking through more takes a while


@dataclass(frozen=True)
class ShownData:
    """A data set as it was read; `recipe` is what a search would train by, if nothing is given."""

    found: "Inspection"
    recipe: "Recipe"
    picture: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the facts as plain data."""
        from nas.training.recipes import DEFAULT

        shown = {"recipe": DEFAULT, "folds": self.recipe.folds}
        return self.found.to_json() | shown | {"picture": self.picture and str(self.picture)}

    def lines(self) -> Lines:
        """Say how the data set was read, and what to do with it."""
        from nas.data import inspection

        data, found = self.found.data, self.found
        yield inspection.describe(data)
        by_split = inspection.counts(data)
        rows = [[name, *(split[name] for split in by_split.values())] for name in data.classes]
        shares = [f"{split.majority_rate:.1%}" for split in data.splits.values()]
        rows += [["majority rate", *shares]]
        yield Table(["class", *(f"#{name}" for name in by_split)], rows)
        if len(data.origin.sizes) > 1:
            sizes = [f"{n} {w} x {h}" for n, (w, h) in inspection.sizes(data).items()]
            yield f"sizes in pixels: {', '.join(sizes)}; {len(data.origin.sizes):,} different ones"
        for reason, names in data.origin.left_out.items():
            more = ", ..." if len(names) > NAMED else ""
            yield f"left out, {reason}: {len(names):,} ({', '.join(names[:NAMED])}{more})"
        if "unreadable" in data.origin.left_out:
            yield "  a search refuses unreadable images: remove or mend them"
        yield from found.copies_in_words()
        metric, why = inspection.metric(data)
        yield f"suggested: --metric {metric}, because {why}"
        if self.recipe.folds > 1:
            yield f"a search scores trials on {self.recipe.folds} folds, as validation is small"
        if self.picture is not None:
            yield str(self.picture)


def data_show(
    data: Annotated[
        str, argument("Name, file (.npz, .csv, ...), folder of images per class, or URL.")
    ],
    *,
    groups: Annotated[str | None, Help("Which images belong together, as in nas search.")] = None,
    include: Annotated[list[str] | None, Help("Files to read, as in nas search.")] = None,
    exclude: Annotated[list[str] | None, Help("Files to leave out, as in nas search.")] = None,
    out: Annotated[str | None, Help(f"Folder to write a picture to: {PICTURE}.")] = None,
    say: Callable[[str], None] | None = None,
) -> ShownData:
    """Show a data set: classes, sizes, what was left out, copies, and a picture of samples.

    Unreadable images of a folder are left out and told; a search refuses them.
    """
    from nas.config import CACHE
    from nas.data import load
    from nas.data.duplicates import duplicates
    from nas.data.inspection import Inspection
    from nas.data.layout import Patterns
    from nas.report.samples import draw_samples
    from nas.training.recipes import SEARCH_FOLDS, compose

    say = say or silent
    if out is not None:
        check_folder(Path(out))
    loaded = load(
        data,
        cache_dir=Path("studies", CACHE),
        groups=groups,
        patterns=Patterns(tuple(include or ()), tuple(exclude or ())),
        skip_unreadable=True,
        say=say,
    )
    images = sum(len(split) for split in loaded.splits.values())
    if images > MANY:
        say(f"comparing {images:,} images")
    found = Inspection(loaded, duplicates(loaded))
    picture = None
    if out is not None:
        with writing(picture := Path(out, PICTURE)):
            draw_samples(found, picture)
    return ShownData(found, compose(loaded, folds=SEARCH_FOLDS), picture)
