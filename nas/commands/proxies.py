"""The verb that compares zero-cost proxies.

Importing this module imports neither torch nor the store.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from nas.commands._options import Help, Picture, Store, StudyName, silent
from nas.commands.studies import reading, study_of
from nas.errors import UserError
from nas.files import check_picture, writing
from nas.training.metrics import gain

if TYPE_CHECKING:
    from nas.architecture import Architecture
    from nas.proxies._comparison import ProxyValues
    from nas.report.proxies import ProxyReport


def compare_proxies(
    study: StudyName = None,
    *,
    proxies: Annotated[
        str | Sequence[str] | None, Help("Such as naswot,synflow; else all.")
    ] = None,
    out: Picture = None,
    store: Store = None,
    say: Callable[[str], None] | None = None,
) -> "ProxyReport":
    """Compare zero-cost proxies with what a study's trainings showed.

    Each network of a complete trial counts once. All proxies are compared unless some are named;
    macs and params always are. With `out`, a .svg or .png file, a picture is drawn. Raises
    UserError where there is no complete trial.
    """
    from nas import proxies as registry
    from nas.store import queries

    wanted = registry.read(proxies) if proxies is not None else tuple(registry.names())
    if out is not None:
        check_picture(Path(out))
    with reading(store) as connection:
        info = study_of(connection, study)
        metric = info.metric
        complete = [t for t in queries.trials(connection, info.id) if t.state == "complete"]
        trials: dict[str, queries.TrialInfo] = {}  # of a network with several recipes, the best
        for trial in complete:
            value = trial.metrics.get(metric)
            if value is None:
                continue
            rival = trials.setdefault(trial.architecture_id, trial).metrics[metric] or 0.0
            if gain(metric, value) >= gain(metric, rival):
                trials[trial.architecture_id] = trial
        evaluations = [queries.evaluation(connection, t.evaluation_id) for t in trials.values()]
    if not trials:
        raise UserError(f"Study {info.name!r} has no complete trial yet: nothing to compare with.")
    from nas.proxies._comparison import compare
    from nas.report.proxies import ProxyReport, draw_proxies

    networks = [each.architecture for each in evaluations]
    macs = [trial.cost.macs for trial in trials.values()]
    truth = [gain(metric, trial.metrics[metric] or 0.0) for trial in trials.values()]
    names = dict.fromkeys((*wanted, *registry.BASELINES))
    compared = compare(_measured(names, networks, info.config, say or silent), truth)
    report = ProxyReport(info.name, metric, macs, truth, compared, Path(out) if out else None)
    if report.picture is not None:
        with writing(report.picture):
            draw_proxies(report, report.picture)
    return report


def _measured(
    names: Iterable[str],
    networks: "Sequence[Architecture]",
    stored: Mapping[str, Any],
    say: Callable[[str], None],
) -> "dict[str, ProxyValues]":
    """Measure networks with each proxy, on the study's own data and by its seed."""
    from nas.config import Config
    from nas.proxies._candidate import Batches
    from nas.proxies._comparison import timed
    from nas.training.recipe import check_fits

    config = Config.from_json(stored)
    data = config.load_data()
    check_fits(config.recipe, data)
    batches = Batches(lambda: data, config.seed)
    for size in {network.resolution for network in networks}:
        batches.at(size)  # read once for all networks: no proxy's time
    measured = {}
    for name in names:
        measured[name] = timed(partial(batches.measure, name), networks)
        say(f"{name}: {len(networks)} networks, {measured[name].seconds:.2g} s each")
    return measured
