"""The verb that writes a trial's network as files. Importing this module imports no torch."""

from pathlib import Path

from nas.commands.studies import study_of, trial_of
from nas.errors import UserError
from nas.files import check_folder
from nas.store import queries
from nas.store.engine import resolve


def export_model(
    study: str | None = None,
    *,
    out: str,
    format: str = "python",  # noqa: A002 - the option's name
    trial: int | None = None,
    store: str | None = None,
) -> Path:
    """Write a trial's network, the best's by default, as files in `out`; return the main one."""
    from nas import export as exporters

    exporter = exporters.get(format)
    check_folder(Path(out))
    url = resolve(store)
    with queries.connect(url) as connection:
        info = study_of(connection, study)
        chosen = trial_of(connection, info, trial)
        if chosen.state != "complete":
            raise UserError(
                f"Trial {chosen.number} is {chosen.state}; only complete ones have weights."
            )
        evaluation = queries.evaluation(connection, chosen.evaluation_id)
        looks = dict(queries.test_looks(connection, info.id))
    from nas.config import Config, cache_dir
    from nas.data import load
    from nas.store.store import Store
    from nas.study.winner import facts_of, trained_weights

    config = Config.from_json(info.config)
    architecture = evaluation.architecture
    data = load(config.data, cache_dir=cache_dir(config.folder))
    writable = Store.open(url)
    try:
        state = trained_weights(writable, evaluation, config, data)
    finally:
        writable.close()
    test = looks.get(evaluation.id, {})
    facts = facts_of(chosen, data, architecture, test)
    return exporter.export(architecture, state, Path(out), facts)
