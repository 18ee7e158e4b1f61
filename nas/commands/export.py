"""The verb that writes a trial's network as files.

Importing this module imports neither torch nor the store.
"""

from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from nas.commands._options import Help, Store, StudyName
from nas.commands.studies import reading, study_of
from nas.errors import UserError
from nas.files import check_folder
from nas.report import tables


@dataclass(frozen=True)
class Exported:
    """A network's files; `code` is the main one."""

    code: Path

    def to_json(self) -> dict[str, str]:
        """Return the path as plain data."""
        return {"code": str(self.code)}

    def lines(self) -> tables.Lines:
        """Say where the code lies."""
        return [str(self.code)]


def export_model(
    study: StudyName = None,
    *,
    out: Annotated[str, Help("Folder to write to.")],
    format: Annotated[str, Help("python.")] = "python",  # noqa: A002 - the option's name
    trial: Annotated[int | None, Help("Number; the winner if left out.")] = None,
    pick: Annotated[
        str | None, Help("winner, accurate (the most accurate finalist) or knee.")
    ] = None,
    store: Store = None,
) -> Exported:
    """Write a trial's network as code, with its weights.

    A finalist has the weights of its best training in full.
    """
    from nas import export as exporters

    exporter = exporters.get(format)
    check_folder(Path(out))
    from nas.store import queries
    from nas.store.engine import resolve
    from nas.study.finalists import training_of

    url = resolve(store)
    with reading(url) as connection:
        info = study_of(connection, study)
        exported = training_of(connection, info, trial, pick)
        if exported.state != "complete":
            raise UserError(
                f"Trial {exported.number} is {exported.state}; only complete ones have weights."
            )
        evaluation = queries.evaluation(connection, exported.evaluation_id)
        test = dict(queries.test_looks(connection, info.id)).get(evaluation.id, {})
    from nas.config import Config
    from nas.store.store import Store as Writable
    from nas.study.data_facts import stored_or_loaded
    from nas.study.winner import answer_of, facts_of, kept_weights, trained_weights

    config = Config.from_json(info.config)
    architecture, load = evaluation.architecture, cache(config.load_data)
    with reading(url) as connection:
        answer = answer_of(connection, evaluation)
        data = stored_or_loaded(connection, info.id, architecture.resolution, load)
    state = kept_weights(evaluation)
    if state is None:
        with closing(Writable.open(url)) as writable:
            state = trained_weights(writable, evaluation, config, load())
    facts = facts_of(exported, data, architecture, test, answer)
    return Exported(exporter.export(architecture, state, Path(out), facts))
