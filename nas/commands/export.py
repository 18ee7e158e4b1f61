"""The verb that writes a network as files, each in a format and each proven by running it.

Importing this module imports neither torch nor the store.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Unpack, cast

from nas import quantities
from nas.commands._options import Help, Images, Store, argument
from nas.commands.networks import architecture_of
from nas.commands.studies import reading, study_of
from nas.errors import Conflict, NasError, StoreError, UserError
from nas.files import check_folder
from nas.report import tables

if TYPE_CHECKING:
    from nas.export import Exportable, ExportOptions
    from nas.export.verdict import Proof
    from nas.store.queries import StudyInfo, TrialInfo
    from nas.store.records import Evaluation, Metrics


OPTIONS = ("preprocess", "fold_batch_norm", "max_loss", "package")  # of formats


@dataclass(frozen=True)
class Exported:
    """A network's files, by format, each with the verdict on it; `notes` say what was left out."""

    architecture_id: str
    proofs: "Mapping[str, Proof]"
    notes: tuple[str, ...] = ()

    @property
    def code(self) -> Path:
        """The Python file; raises the failure where it is not equal."""
        proof = self.proofs["python"]
        if proof.path is None:
            raise NasError(str(proof.failure))
        return proof.path

    @property
    def failure(self) -> NasError | None:
        """Name the formats that are not equal to the built network, or could not be run."""
        failed = [f"{name}: {p.failure}" for name, p in self.proofs.items() if p.failure]
        return NasError("Not written: " + " ".join(failed)) if failed else None

    def to_json(self) -> dict[str, Any]:
        """Return plain data; `code` is the path of the Python file, if that was asked for."""
        formats = {name: proof.to_json() for name, proof in self.proofs.items()}
        code = {"code": formats["python"]["path"]} if "python" in formats else {}
        return {"architecture_id": self.architecture_id, **code, "formats": formats}

    def lines(self) -> tables.Lines:
        """Show each file, the largest difference of its outputs, and what ran it."""
        rows = [
            [
                proof.format,
                proof.path or "not written",
                "" if proof.verified is None else f"{proof.verified:.1e}",
                "" if proof.tolerance is None else f"{proof.tolerance:.0e}",
                str(proof.real_images),
                "" if proof.latency_ms is None else f"{proof.latency_ms:.3g}",
                proof.runtime,
            ]
            for proof in self.proofs.values()
        ]
        columns = ["format", "file", "#difference", "#allowed", "#real images", "#ms", "run by"]
        yield tables.Table(columns, rows)
        for proof in self.proofs.values():
            if proof.stated:
                said = ", ".join(f"{key} {_short(value)}" for key, value in proof.stated.items())
                yield f"{proof.format}: {said}"
        yield from map(tables.Remark, self.notes)


def _short(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


class ExportWords(Images, total=False):
    """Which network it is, where it is not a study's, and the options of formats."""

    study_name: Annotated[str | None, Help("The study's name once more.", ("--study",))]
    architecture: Annotated[str | None, Help("An architecture's file (JSON or code).")]
    member: Annotated[str | None, Help("A published network instead of a study.")]
    seed: Annotated[int | None, Help("Of the weights of a network that is not trained: 0.")]
    preprocess: Annotated[bool, Help("The file takes pixels and standardises them itself.")]
    fold_batch_norm: Annotated[bool, Help("Batch norm becomes part of convolutions.")]
    max_loss: Annotated[float, Help("Points of the metric that onnx-int8 may lose: 2.")]
    package: Annotated[bool, Help("With python: a package to install, and to train anew.")]


def export_model(
    study: Annotated[str | None, argument("A study's name; the newest if left out.")] = None,
    *,
    out: Annotated[str, Help("Folder to write to.")],
    format: Annotated[str, Help("Formats, with commas between.")] = "python",  # noqa: A002 - as named
    trial: Annotated[int | None, Help("Number; the winner if left out.")] = None,
    pick: Annotated[
        str | None, Help("winner, accurate (the most accurate finalist) or knee.")
    ] = None,
    store: Store = None,
    **words: Unpack[ExportWords],
) -> Exported:
    """Write a network in one or more formats, each run beside the built network.

    A finalist has the weights of its best training in full; a network that is no study's is not
    trained. A file whose outputs differ is not written, and is the value's failure.
    """
    from nas import export as exporters

    names = list(dict.fromkeys(name.strip() for name in format.split(",")))
    for name in names:
        exporters.check(name)
    check_folder(Path(out))
    given = cast(Mapping[str, Any], words)
    chosen = {name: given[name] for name in OPTIONS if given.get(name) is not None}
    options = exporters.ExportOptions(**chosen)
    if not 0 <= options.max_loss <= 100:
        raise UserError(f"--max-loss is from 0 to 100 points, not {options.max_loss:g}.")
    of = {"study": study, "--study": words.get("study_name"), "--trial": trial, "--pick": pick}
    source = _source(of, words)
    from nas.export import proof

    proof.check_formats(names, options)
    if source is not None:
        return _exported(_untrained(names, source, options, words), names, Path(out))
    found = Found.of(study or words.get("study_name"), trial, pick, store)
    return recorded(found, of_study(found, names, options, Path(out)))


def _source(of_study: Mapping[str, object], words: ExportWords) -> str | None:
    """Return the network that is no study's; None for a study's. Refuse two answers to which."""
    source = words.get("member") or words.get("architecture")
    given = [name for name, value in of_study.items() if value is not None]
    given += [f"--{name}" for name in ("member", "architecture") if words.get(name) is not None]
    several = given if source else [name for name in given if name.endswith("study")]
    if len(several) > 1:
        raise UserError(f"{' and '.join(several)} each say which network; give one of them.")
    for name in () if source else ("seed", *Images.__annotations__):
        if words.get(name) is not None:
            option = name.replace("_", "-")
            raise UserError(f"--{option} is for --member and --architecture; a study has its own.")
    return source


def _exported(
    exportable: "Exportable", names: Sequence[str], out: Path, notes: Sequence[str] = ()
) -> Exported:
    """Write a network in formats, each proven."""
    from nas.export import proof

    proofs = {name: proof.prove(name, exportable, out) for name in names}
    return Exported(exportable.architecture.id, proofs, tuple(notes))


def _untrained(
    names: Sequence[str], source: str, options: "ExportOptions", words: ExportWords
) -> "Exportable":
    """Build a network that is no study's, with weights as its seed draws them."""
    import torch

    from nas import network
    from nas.export import Exportable, get

    for name in names:
        if get(name).NEEDS_DATA:
            raise UserError(f"The format {name} needs a study: its images and its trained weights.")
    if options.preprocess:
        raise UserError("--preprocess needs a study: the mean and deviation of its images.")
    if options.package:
        raise UserError("--package needs a study: the recipe that its network was trained by.")
    images: Images = {name: words.get(name) for name in Images.__annotations__}  # type: ignore[assignment]
    quantities.check_positive(**images)
    architecture = architecture_of(source).at(**images)
    with torch.random.fork_rng([]):
        torch.manual_seed(words.get("seed") or 0)
        state = network.build(architecture).state_dict()
    return Exportable(architecture, state, options=options)


class Found(NamedTuple):
    """A study's training whose weights are exported."""

    url: str
    info: "StudyInfo"
    training: "TrialInfo"
    evaluation: "Evaluation"
    test: "Metrics"

    @classmethod
    def of(
        cls, study: str | None, trial: int | None, pick: str | None, store: str | None
    ) -> "Found":
        """Find it; raises UserError where there is none, or it is not complete."""
        from nas.store import queries
        from nas.store.engine import resolve
        from nas.study.finalists import training_of

        url = resolve(store)
        with reading(url) as connection:
            info = study_of(connection, study)
            training = training_of(connection, info, trial, pick)
            if training.state != "complete":
                raise Conflict(
                    f"Trial {training.number} is {training.state}; only complete ones have weights."
                )
            evaluation = queries.evaluation(connection, training.evaluation_id)
            test = dict(queries.test_looks(connection, info.id)).get(evaluation.id, {})
        return cls(url, info, training, evaluation, test)


def of_study(found: Found, names: Sequence[str], options: "ExportOptions", out: Path) -> Exported:
    """Write a training's network in formats, each proven, on real images where they are at hand."""
    from nas.config import Config
    from nas.export import Exportable, get, package
    from nas.store.store import Store as Writable
    from nas.study.data_facts import stored_or_loaded
    from nas.study.winner import facts_of, kept_weights, recipe_of, trained_weights
    from nas.training.adaptation import weakened
    from nas.training.metrics import SHARE

    config = Config.from_json(found.info.config)
    architecture, load = found.evaluation.architecture, cache(config.load_data)
    with reading(found.url) as connection:
        recipe = recipe_of(connection, found.evaluation)
        data = stored_or_loaded(connection, found.info.id, architecture.resolution, load)
    state = kept_weights(found.evaluation)
    if state is None:
        with closing(Writable.open(found.url)) as writable:
            state = trained_weights(writable, found.evaluation, config, load())
    images, notes = None, []
    try:
        images = load()
    except NasError as error:
        if any(get(name).NEEDS_DATA for name in names):
            raise
        notes = [f"The proof is on noise alone; the images are not at hand: {error}"]
    facts = facts_of(found.training, data, architecture, found.test, recipe.answer)
    share = found.evaluation.metrics.get(SHARE) or 1.0
    recipe = replace(recipe, augmentation=weakened(recipe.augmentation, share))
    exportable = Exportable(
        architecture, state, facts, options, images, found.info.metric, recipe, found.info.name
    )
    if options.package:
        package.check(exportable)
    return _exported(exportable, names, out, notes)


def recorded(found: Found, exported: Exported) -> Exported:
    """Store the verdicts with the training; a note says so where that was impossible."""
    from nas.store import dashboard, queries
    from nas.store.store import Store as Writable

    try:
        with closing(Writable.open(found.url)) as writable:
            for proof in exported.proofs.values():
                writable.set_export(found.info.id, found.evaluation, proof.verdict())
            with writable.read() as connection:
                verdicts = queries.exports(connection, found.info.id)
            each = (f"network {id_} as {tables.exported(of)}" for id_, of in verdicts.items())
            dashboard.show_exports(writable, found.info.id, "; ".join(each) + ".")
    except StoreError as error:
        note = f"The verdicts are not stored: {error}"
        return replace(exported, notes=(*exported.notes, note))
    return exported
