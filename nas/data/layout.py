"""Layout: which files below a folder are images, and of which class and split each is.

    cat/1.jpg        dog/2.png           a folder for each class: splits are made
    train/cat/1.jpg  test/cat/2.jpg      split folders, with the same classes below each
    cat/train/1.jpg  cat/test/2.jpg      the same, the other way round
    images/train/cat/1.jpg               a folder with all of it in it

What could be read in two ways is refused: a network would learn to tell train from test, or images
from their masks, with good scores.
"""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from nas.data import decoders
from nas.errors import DataError
from nas.files.reading import reading

Parts = tuple[str, ...]  # a path below the folder

EXTENSIONS = decoders.endings() | frozenset(
    {
        *(".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".ico", ".im", ".j2c", ".j2k"),
        *(".jfif", ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo", ".pbm"),
        *(".pcx", ".pfm", ".pgm", ".png", ".pnm", ".ppm", ".psd", ".qoi", ".sgi", ".tga"),
        *(".tif", ".tiff", ".webp"),
    }
)
_ENDINGS = tuple(EXTENSIONS)
VEHICLE = "train"  # the one name of a split that is a usual name of a class
TABLES = (".csv", ".tsv", ".json", ".jsonl", ".xlsx", ".parquet")
_SPLITS = {
    "train": "train|training",
    "validation": "val|valid|validation|dev|development",
    "test": "test|testing",
}
_FILLER = r"(?:(?:data(?:set)?|set|split|images?|imgs?|pictures|photos|samples?|folder)[ _.-]*)?"
_IS_SPLIT = {
    split: re.compile(rf"[\d ._-]*{_FILLER}(?:{names})[ _.-]*{_FILLER}\d*", re.IGNORECASE)
    for split, names in _SPLITS.items()
}
_BESIDE = re.compile(
    r"(?<![a-z])(?:mask|preview|thumb(?:nail)?|segmentation|annotation|overlay|heat[ _-]?map"
    r"|ground[ _-]?truth|gt)s?(?![a-z])",
    re.IGNORECASE,
)
_PICTURES = re.compile(r"images?|imgs?|pictures?|photos?|originals?|raw|scans?", re.IGNORECASE)
_NAMES = "the names of splits are such as train, val, valid, dev, test, training_set and test_data"
_SHOWN = 5


class Labelled(NamedTuple):
    """An image's path below the folder, the name of its class, and its split, "" if not given."""

    path: str
    label: str
    split: str


@dataclass(frozen=True)
class Patterns:
    """Which files are read: those of a pattern to include, if there is one, less those excluded.

    A pattern such as masks, *.tif or train/*/masks is that of a shell, and matches a path, a part
    of it, or several parts that follow each other; * matches a slash as well.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def keeps(self, path: Parts) -> bool:
        """Tell whether a file is read."""
        is_included = not self.include or _matches(path, self.include)
        return is_included and not self.excludes(path)

    def excludes(self, path: Parts) -> bool:
        """Tell whether a file or folder is left out."""
        return _matches(path, self.exclude)


def _matches(path: Parts, patterns: Sequence[str]) -> bool:
    if not patterns:
        return False
    ends = range(1, len(path) + 1)
    runs = {"/".join(path[start:end]) for end in ends for start in range(end)}
    return any(fnmatchcase(run, pattern) for run in runs for pattern in patterns)


@dataclass(frozen=True)
class Layout:
    """The images below a folder, in the order of their paths, and how the folder was understood.

    `root` is the folder of the classes or splits. `left_out` has the other files by the reason,
    hidden ones are not told.
    """

    root: Path
    images: tuple[Labelled, ...]
    left_out: Mapping[str, Sequence[str]]
    notes: tuple[str, ...]


def understand(folder: Path, patterns: Patterns | None = None) -> Layout:
    """Decide which images a folder has, and their classes and splits.

    Raises DataError for a folder without images, and for one that can be read in two ways.
    """
    patterns, tree = patterns or Patterns(), _Tree.of(folder)
    every = [path for path in tree.files if _is_image(path)]
    images = [path for path in every if patterns.keeps(path)]
    if not images:
        raise DataError(
            f"A folder data set needs one folder of images per class; {folder} has no "
            f"images{_endings(tree.files)}. Readable: {', '.join(sorted(EXTENSIONS))}."
        )
    _check_names(folder, images)
    emptied = _above(every) - _above(images)  # by the patterns, so that nothing is amiss
    folders = [path for path in tree.folders if not patterns.excludes(path) and path not in emptied]
    top = _top(images, folders)
    below = _Below(
        Path(folder, *top),
        [path[len(top) :] for path in images if path[: len(top)] == top],
        [path[len(top) :] for path in folders if path[: len(top)] == top and len(path) > len(top)],
        has_table=any(Path(path[-1]).suffix.lower() in TABLES for path in tree.files),
    )
    labelled, words = below.read()
    used = {(*top, *each.path.split("/")) for each in labelled}
    notes = [f"read below {'/'.join(top)}"] if top else []
    left_out = _left_out([path for path in tree.files if path not in used], patterns)
    if tree.others:
        left_out["no files"] = ["/".join(path) for path in tree.others]
    return Layout(below.root, tuple(labelled), left_out, (*notes, *words, *_beside(labelled)))


def images_below(folder: Path) -> list[str]:
    """Return the paths of all images below a folder, sorted, whatever its folders mean.

    Raises DataError for a folder without images.
    """
    files = _Tree.of(folder).files
    images = [path for path in files if _is_image(path)]
    if not images:
        raise DataError(
            f"A folder of images has image files; {folder} has none{_endings(files)}. Readable: "
            f"{', '.join(sorted(EXTENSIONS))}."
        )
    _check_names(folder, images)
    return ["/".join(path) for path in images]


@dataclass(frozen=True)
class _Tree:
    """The files and folders below a folder, sorted; hidden ones are not among them.

    `others` are pipes, devices and links that lead nowhere.
    """

    files: Sequence[Parts]
    folders: Sequence[Parts]
    others: Sequence[Parts]

    @classmethod
    def of(cls, root: Path) -> "_Tree":
        """Walk a folder; links to folders are followed, but not in circles."""
        files: list[Parts] = []
        folders: list[Parts] = []
        others: list[Parts] = []
        waiting: list[tuple[Parts, frozenset[str]]] = [((), frozenset({os.path.realpath(root)}))]
        while waiting:
            path, above = waiting.pop()
            with reading(str(Path(root, *path)), DataError):
                entries = list(os.scandir(Path(root, *path)))
            for entry in entries:
                inner = (*path, entry.name)
                if entry.name.startswith(".") or entry.name == "__MACOSX":
                    continue
                if entry.is_file():
                    files.append(inner)
                elif not entry.is_dir():
                    others.append(inner)
                elif (real := os.path.realpath(entry.path)) not in above:
                    folders.append(inner)
                    waiting.append((inner, above | {real}))
        return cls(sorted(files), sorted(folders), sorted(others))


@dataclass(frozen=True)
class _Below:
    """The images and folders below the folder of the classes or splits, by their paths."""

    root: Path
    images: Sequence[Parts]
    folders: Sequence[Parts]
    has_table: bool

    def read(self) -> tuple[list[Labelled], list[str]]:
        """Return the images with their classes and splits, and words on what was understood."""
        below = {path[0] for path in self.images if len(path) > 1}
        splits = {each: split for each in sorted(below) if (split := split_of(each))}
        loose = [each for each in splits if not any(len(path) > 2 for path in self.of(each))]
        others = sorted(below - splits.keys())
        with_classes = {each: split for each, split in splits.items() if each not in loose}
        if with_classes:
            self._check_splits(with_classes, others)
            found, words = self._of_splits(with_classes)
            return found, [*words, *(f"{each} is no split and is left out" for each in others)]
        is_class = len(loose) == 1 and loose[0].lower() == VEHICLE and not self.has_table
        if not others or (loose and not is_class):
            raise DataError(
                f"An image's class is told by its folder, such as train/cat/1.png; {self.root} has "
                f"images that lie loose{' in ' if loose else ''}{self._named(loose)}. Give "
                "your table of labels, a .csv or .parquet file, as --data (docs/guides/data.md "
                "tells its columns), sort them into folders, or leave them out with --exclude."
            )
        found, words = self._of_classes()
        return found, [*words, *(f"{each!r} is a class, not a split" for each in loose)]

    def of(self, folder: str) -> Iterator[Parts]:
        """Yield the images below a folder."""
        return (path for path in self.images if path[0] == folder)

    def _named(self, folders: Iterable[str]) -> str:
        return ", ".join(f"{each}/" for each in folders)

    def _check_splits(self, splits: Mapping[str, str], others: Sequence[str]) -> None:
        counts = Counter(splits.values())
        if twice := [each for each, split in splits.items() if counts[split] > 1]:
            raise DataError(
                f"Every split needs one folder; {self.root} has {self._named(twice)} for the same. "
                "Rename one, or leave it out with --exclude."
            )
        if others and len(splits) == 1:
            raise DataError(
                f"A folder of {self.root} may be a split or a class: {self._named(splits)} is named"
                f" like a split, {self._named(others)} beside it like classes; {_NAMES}. Name all "
                f"splits so, rename a class that is no split, such as {next(iter(splits))}_class, "
                "or leave folders out with --exclude."
            )
        if "train" not in counts:
            raise DataError(
                f"{self.root} has split folders, {self._named(splits)}, but no images in a train "
                f"folder; {_NAMES}."
            )

    def _of_splits(self, splits: Mapping[str, str]) -> tuple[list[Labelled], list[str]]:
        """Read classes below splits."""
        found = [
            Labelled("/".join(path), path[1], splits[path[0]])
            for path in self.images
            if path[0] in splits and len(path) > 2
        ]
        train = next(each for each, split in splits.items() if split == "train")
        classes = [path[1] for path in self.folders if path[0] == train and len(path) == 2]
        self._check_not_empty(classes, {path[1] for path in self.of(train)}, (train,))
        return self._same_names(found, f"split folders {', '.join(splits)}")

    def _of_classes(self) -> tuple[list[Labelled], list[str]]:
        """Read classes, which may have their splits below them."""
        images = [path for path in self.images if len(path) > 1]
        classes = [path[0] for path in self.folders if len(path) == 1]
        self._check_not_empty(classes, {path[0] for path in images}, ())
        kinds = [each for each in classes if _BESIDE.fullmatch(each)]
        if kinds and any(_PICTURES.fullmatch(each) for each in classes):
            raise DataError(
                f"Every class needs a folder; the folders of {self.root}, {self._named(classes)}, "
                f"are named like kinds of pictures. Leave some out: --exclude {kinds[0]}."
            )
        below = {path[1] if len(path) > 2 else "" for path in images}
        splits = {name: split_of(name) for name in below}
        if set(splits.values()) >= {"train"} and len(splits) > 1 and all(splits.values()):
            found = [Labelled("/".join(path), path[0], splits[path[1]]) for path in images]
            return self._same_names(found, f"splits {', '.join(sorted(splits))} below each class")
        folders: dict[str, set[str]] = {each: set() for each in classes}
        for path in images:
            folders[path[0]].update(path[1:2] if len(path) > 2 else ())
        common = sorted(set.intersection(*folders.values()))
        counts = (f"{each} ({sum(path[1] == each for path in images)})" for each in common[:_SHOWN])
        note = [f"folders below each class: {', '.join(counts)}"] if common else []
        note += [f"{each!r} is read as a class: --exclude {each} leaves it out" for each in kinds]
        found, words = self._same_names([Labelled("/".join(p), p[0], "") for p in images], "")
        return found, [*words, *note]

    def _check_not_empty(self, folders: Sequence[str], full: set[str], above: Parts) -> None:
        """Refuse a class that has no image that can be read: it would be gone."""
        empty = [each for each in folders if each not in full]
        if empty:
            named = self._named("/".join((*above, each)) for each in empty[:_SHOWN])
            more = f" and {len(empty) - _SHOWN} more" if len(empty) > _SHOWN else ""
            files = [p for e in empty for p in _Tree.of(Path(self.root, *above, e)).files]
            raise DataError(
                f"Every class needs images; {named}{more} of {self.root} has none"
                f"{_endings(files)}. Readable: {', '.join(sorted(EXTENSIONS))}. Convert them, or "
                f"leave the folder out: --exclude {empty[0]}."
            )

    def _same_names(self, found: list[Labelled], words: str) -> tuple[list[Labelled], list[str]]:
        """Give classes whose names differ in their Unicode form alone one name, and say so."""
        names = {each.label: unicodedata.normalize("NFC", each.label) for each in found}
        twice = [name for name, count in Counter(names.values()).items() if count > 1]
        said = [words] if words else []
        said += [f"{name!r} is written in two Unicode forms: one class" for name in twice]
        return [each._replace(label=names[each.label]) for each in found], said


def split_of(name: str) -> str:
    """Return the split that a folder of this name has, "" if none."""
    return next((split for split, names in _IS_SPLIT.items() if names.fullmatch(name)), "")


def _top(images: Sequence[Parts], folders: Sequence[Parts]) -> Parts:
    """Return the folder of classes or splits: archives often hold one folder with all in it."""
    top: Parts = ()
    while True:
        depth = len(top) + 1
        inner = {path[:depth] for path in folders if path[: len(top)] == top and len(path) >= depth}
        below = [path for path in images if path[: len(top)] == top]
        is_loose = any(len(path) == depth for path in below)
        if len(inner) != 1 or is_loose or split_of(min(inner)[-1]):
            return top
        if not any(len(path) > depth + 1 for path in below):  # it is a class
            return top
        top = min(inner)


def _above(files: Iterable[Parts]) -> set[Parts]:
    """Return the folders that files are below."""
    return {path[:depth] for path in files for depth in range(1, len(path))}


def is_image(name: str) -> bool:
    """Tell an image from another file by its name."""
    return name.lower().endswith(_ENDINGS)


def _is_image(path: Parts) -> bool:
    return is_image(path[-1])


def _endings(files: Sequence[Parts]) -> str:
    """Say which kinds of files there are."""
    counts = Counter(Path(path[-1]).suffix.lower() or "no extension" for path in files)
    named = ", ".join(f"{count} {ending}" for ending, count in counts.most_common(_SHOWN))
    return f", but files: {named}" if named else ""


def _check_names(folder: Path, images: Sequence[Parts]) -> None:
    """Refuse names that no text can hold: a study stores and shows the names of its classes."""
    paths = [str(folder.absolute()), *("/".join(path) for path in images)]
    odd = [path for path in paths if path.encode(errors="ignore").decode() != path]
    if odd:
        raise DataError(
            f"The names of classes and images need to be UTF-8; {len(odd)} are not, such as "
            f"{odd[0]}. Rename them (convmv does), or leave them out with --exclude."
        )


def _beside(images: Sequence[Labelled]) -> Iterator[str]:
    """Tell of files below a class that are named like masks or previews of the others."""
    named: dict[str, list[bool]] = {}
    odd = []
    for path, label, split in images:
        below = "/".join(path.split("/")[2 if split else 1 :])
        named.setdefault(label, []).append(is_odd := bool(_BESIDE.search(below)))
        odd += [(label, path)] if is_odd else []
    told = [path for label, path in odd if not all(named[label])]
    if told:
        yield (
            f"{len(told):,} files are named like masks or previews, such as {told[0]}, and are read"
            " as images: --exclude leaves them out"
        )


def _left_out(files: Sequence[Parts], patterns: Patterns) -> dict[str, list[str]]:
    """Return the files that are not used, by the reason."""
    left_out: dict[str, list[str]] = {}
    for path in files:
        if path[-1] == decoders.DESCRIPTION:
            continue
        reason = "not below a class"
        if not _is_image(path):
            reason = Path(path[-1]).suffix.lower() or "no extension"
        elif not patterns.keeps(path):
            reason = "excluded"
        left_out.setdefault(reason, []).append("/".join(path))
    return left_out
