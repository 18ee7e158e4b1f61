"""The verb that lays a study's network out as a repository, and uploads it where that is asked for.

Importing this module imports neither torch nor the store.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

from nas.commands._options import Help, Store, argument
from nas.commands.export import Exported, Found, of_study, recorded
from nas.commands.studies import reading
from nas.errors import NasError, UserError
from nas.files import check_folder, write, write_json, writing
from nas.quantities import from_here
from nas.report import tables

if TYPE_CHECKING:
    from nas.report.card import CardFacts
    from nas.study.data_facts import DataFacts
    from nas.training.recipe import Recipe

HUB = "hf://"
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
LAID_OUT = ("python", "json")  # formats that are always there


@dataclass(frozen=True)
class Published:
    """A repository: the names of its files, and its folder or its address on the hub."""

    files: tuple[str, ...]
    folder: Path | None = None
    url: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        folder = None if self.folder is None else from_here(self.folder)
        return {"folder": folder, "url": self.url, "files": list(self.files)}

    def lines(self) -> tables.Lines:
        """Say where the files are, and name them."""
        where = self.url if self.folder is None else from_here(self.folder)
        yield f"{where}: {', '.join(self.files)}"


def publish(
    study: Annotated[str | None, argument("A study's name; the newest if left out.")] = None,
    *,
    to: Annotated[str, Help("A folder, or hf://user/repository on Hugging Face's hub.")],
    format: Annotated[str, Help("More formats, with commas between.")] = "",  # noqa: A002 - as named
    trial: Annotated[int | None, Help("Number; the winner if left out.")] = None,
    pick: Annotated[
        str | None, Help("winner, accurate (the most accurate finalist) or knee.")
    ] = None,
    private: Annotated[bool, Help("A repository that is made is not public.")] = False,
    store: Store = None,
) -> Published:
    """Lay a network out as a repository: code, weights, architecture, recipe and a model card.

    With hf:// it is uploaded, with the token of `hf auth login` or HF_TOKEN.
    """
    from nas import export as exporters

    more = [name.strip() for name in format.split(",") if name.strip()]
    names = list(dict.fromkeys((*LAID_OUT, *more)))
    for name in names:
        exporters.check(name)
    from nas.export import proof

    proof.check_formats(names, exporters.ExportOptions())
    found = Found.of(study, trial, pick, store)
    if not to.startswith(HUB):
        if to.startswith("hf:"):
            raise UserError(f"The hub's address is {HUB}user/repository, not {to!r}.")
        check_folder(Path(to))
        if private:
            raise UserError("--private is for a repository on the hub, not for a folder.")
        return Published(_lay_out(found, names, Path(to)), folder=Path(to))
    repository = to.removeprefix(HUB)
    if not REPOSITORY.fullmatch(repository):
        raise UserError(f"A repository is {HUB}user/repository, not {to!r}.")
    if find_spec("huggingface_hub") is None:
        raise UserError("hf:// needs huggingface_hub: pip install 'nas[publish]'.")
    with TemporaryDirectory(prefix="nas-") as temporary:
        files = _lay_out(found, names, Path(temporary))
        return Published(files, url=_upload(Path(temporary), repository, private))


def _lay_out(found: Found, names: Sequence[str], folder: Path) -> tuple[str, ...]:
    """Write all files of the repository; return their names. Nothing is called done unproven."""
    from nas.export import ExportOptions
    from nas.report.card import card
    from nas.store import queries, schema
    from nas.study.data_facts import DataFacts
    from nas.training import recipe_file
    from nas.training.recipe import Recipe

    exported = recorded(found, of_study(found, names, ExportOptions(), folder))
    if exported.failure is not None:
        raise exported.failure
    with reading(found.url) as connection:
        recipe = Recipe.from_json(queries.recipe(connection, found.evaluation.recipe_hash))
        stored = queries.attribute(connection, found.info.id, schema.DATA)
    data = None if stored is None else DataFacts.from_json(stored)
    facts = _facts(found, exported, recipe, data)
    texts = {"README.md": card(facts), "recipe.toml": _toml(recipe_file.values(recipe))}
    with writing(folder / "README.md"):
        for name, text in texts.items():
            write(folder / name, text.encode())
    write_json(folder / "config.json", _config(facts, data))
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    written = (path.as_posix() for path in paths if not path.as_posix().startswith("."))
    return tuple(sorted(written))


def _toml(values: Mapping[str, Any]) -> str:
    """Write all values of a recipe, those too that are the default of its data."""
    from nas.training.recipe_file import grouped

    lines = []
    for table, content in grouped(values).items():
        lines += ["", f"[{table}]"]
        lines += [f"{name} = {json.dumps(value)}" for name, value in content.items()]
    return "\n".join(lines).lstrip() + "\n"


def _facts(
    found: Found, exported: Exported, recipe: "Recipe", data: "DataFacts | None"
) -> "CardFacts":
    """Collect what the card says, of the store alone."""
    from nas.data import is_name
    from nas.latency._session import processor
    from nas.report.card import CardFacts, reproduction
    from nas.store import queries
    from nas.study.finalists import means, ranking, spreads
    from nas.study.tested import read_tested
    from nas.training.recipe import Recipe

    with reading(found.url) as connection:
        ranked = ranking(connection, found.info.name)
        standing = next(
            (
                each
                for each in (ranked.standings if ranked else ())
                if found.training.evaluation_id in [one.evaluation_id for one in each.trainings]
            ),
            None,
        )
        trainings = standing.trainings if standing else [found.training]
        looks = dict(queries.test_looks(connection, found.info.id))
        seeds = [
            Recipe.from_json(queries.recipe(connection, one.recipe_hash)).seed for one in trainings
        ]
        look_count = queries.test_look_count(connection, found.info.id)
        warnings = [str(each) for each in queries.warnings(connection, found.info.id)]
    tests = [looks[one.evaluation_id] for one in trainings if one.evaluation_id in looks]
    architecture = found.evaluation.architecture
    folder = found.info.folder
    tested = read_tested(Path(folder), found.evaluation.id) if folder else None
    names = data.class_names if data else [str(n) for n in range(architecture.classes)]
    return CardFacts(
        name=found.info.name,
        architecture=architecture,
        data=recipe.data,
        fingerprint=recipe.fingerprint,
        class_names=names,
        several_labels=data is not None and data.task == "labels",
        metric=found.info.metric,
        validation=means([one.metrics for one in trainings]),
        test=means(tests) if tests else {},
        test_spread=spreads(tests) if len(tests) > 1 else {},
        interval=standing.interval if standing else None,
        seeds=seeds,
        test_looks=look_count,
        tested=tested.report if tested else {},
        recipe=recipe.describe(),
        latency_ms=found.training.latency_ms,
        formats=_formats(exported),
        processor=processor(),
        warnings=warnings,
        commands=reproduction(recipe.data if is_name(recipe.data) else None),
        levels=data.reading.levels if data else None,
        versions={name: version(name) for name in ("nas", "torch")},
        date=datetime.now(UTC).date().isoformat(),
    )


def _formats(exported: Exported) -> dict[str, tuple[str, str, float | None]]:
    """Return the file of each format, how it was proven, and its latency."""
    return {
        name: (
            proof.path.name if proof.path else "",
            f"equal to the trained network within {proof.verified:.1e}, run by {proof.runtime}",
            proof.latency_ms,
        )
        for name, proof in exported.proofs.items()
    }


def _config(facts: "CardFacts", data: "DataFacts | None") -> Mapping[str, Any]:
    """Return what programs ask of a model: its input, its classes, how pixels are normalised."""
    architecture = facts.architecture
    config: dict[str, Any] = {
        "architectures": ["Network"],
        "architecture_id": architecture.id,
        "image_size": architecture.resolution,
        "num_channels": architecture.in_channels,
        "num_labels": architecture.classes,
        "id2label": dict(enumerate(facts.class_names)),
        "problem_type": "multi_label_classification"
        if facts.several_labels
        else "single_label_classification",
    }
    if data is not None and architecture.resolution in data.statistics:
        config["image_mean"], config["image_std"] = data.statistics[architecture.resolution]
    return config


def _upload(folder: Path, repository: str, private: bool) -> str:
    """Upload a folder to the hub in one commit; return the repository's address."""
    from huggingface_hub import HfApi

    with _told(repository):
        api = HfApi(library_name="nas", library_version=version("nas"))
        made = api.create_repo(repository, private=private or None, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Published by nas")
        return str(made)


@contextmanager
def _told(repository: str) -> Iterator[None]:
    """Turn the hub's errors into one message; it never holds the token."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except (HfHubHTTPError, OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        token = os.environ.get("HF_TOKEN")
        if token:
            reason = reason.replace(token, "***")
        raise NasError(f"{HUB}{repository} was not published: {reason}") from error
