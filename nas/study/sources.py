"""Where the weights that trainings start from are named: a trial, a folder, a file, timm."""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from nas.errors import NasError, StoreError, UserError, unknown
from nas.export.timm import check, state_of
from nas.files.reading import reading, why
from nas.search_space import load, members
from nas.store import queries
from nas.store.engine import resolve as resolve_store
from nas.study.finalists import ranking, training_of
from nas.study.winner import kept_weights, recipe_of
from nas.training.sources import Source, read

TIMM = "timm:"
RULE = (
    "STUDY:TRIAL or STUDY of the store, a folder of nas train or of a search's winner, a "
    ".safetensors file of one, or timm:NAME"
)


def resolve(source: str, store: str | None) -> Source:
    """Return the weights of a name: of the store, a folder, a file or timm.

    Of a study it is the winner, of a finalist its best training in full. Raises UserError for a
    name of nothing, and where the weights are gone.
    """
    if source.startswith(TIMM):
        return _of_timm(source)
    if Path(source).exists() or source.endswith(".safetensors"):
        return read(source)
    study, colon, number = source.rpartition(":")
    trial = int(number) if colon and number.isdecimal() else None
    return _of_store(source, source if trial is None else study, trial, store)


def _of_store(source: str, study: str, trial: int | None, store: str | None) -> Source:
    try:
        with queries.connect(resolve_store(store)) as connection:
            info = queries.study(connection, study)
            training = training_of(connection, info, trial)
            evaluation = queries.evaluation(connection, training.evaluation_id)
            recipe = recipe_of(connection, evaluation)
            ranked = ranking(connection, study) if trial is None else None
    except StoreError as error:
        raise UserError(f"{source!r} names no weights; they are {RULE}: {error}") from None
    weights = kept_weights(evaluation)
    if weights is None:
        number = ranked.winner.trial.number if ranked else trial
        raise UserError(
            f"The weights of {source} are not kept: a search keeps those of its best trials. "
            f"nas train {study}:{number} trains the network anew."
        )
    return Source(source, evaluation.architecture, weights, recipe)


def _of_timm(source: str) -> Source:
    """Return timm's published weights of a network, NAME, or those of its file, NAME@FILE."""
    name, _, file = source.removeprefix(TIMM).partition("@")
    if name not in members():
        raise UserError(unknown("network", name, members(), listing="nas space list"))
    architecture = load(name).decode({})
    try:
        check(architecture)
        theirs = _file(file) if file else _published(name)
        return Source(source, architecture, state_of(architecture, theirs))
    except NasError as error:
        raise UserError(f"{source}: {error}") from None


def _file(file: str) -> Mapping[str, Tensor]:
    if not file.endswith(".safetensors"):
        raise UserError(f"a file of weights ends in .safetensors, unlike {file!r}")
    with reading(file):
        return load_file(file)


def _published(name: str) -> Mapping[str, Tensor]:
    try:
        import timm

        return dict(timm.create_model(name, pretrained=True).state_dict())
    except Exception as error:  # no timm, no network, no such weights: each has errors of its own
        raise UserError(
            f"timm's weights of {name} can't be had here ({type(error).__name__}: {why(error)}). "
            f"It needs the extra timm and a network; {TIMM}{name}@FILE reads a .safetensors file "
            "of them."
        ) from None
