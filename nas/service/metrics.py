"""A store as numbers for a monitor: Prometheus scrapes them. Workers need nothing for it.

Each scrape reads the store as `nas status` does. The number of time series is bounded: the newest
studies, the most frequent reasons of failures. Importing this module imports no torch.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

from nas.errors import StoreError, UserError
from nas.service.server import bound
from nas.service.sockets import listening
from nas.store import queries
from nas.store.engine import resolve
from nas.study.progress import Progress, progress

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily

MAX_STUDIES = 20
MAX_REASONS = 8  # of a study; the others are counted as `other`
REASON_LENGTH = 80  # characters
OTHER = "other"


Samples = Iterable[tuple[tuple[str, ...], float]]  # the values of the labels, and the number


class Collector:
    """Reads the store at each scrape; a store that does not answer is `nas_store_up` 0."""

    def __init__(self, store: str) -> None:
        self.store = store

    def collect(self) -> Iterator["GaugeMetricFamily"]:
        """Yield all gauges with the numbers of this moment."""
        from prometheus_client.core import GaugeMetricFamily

        try:
            with queries.connect(self.store) as connection:
                infos = queries.studies(connection)[-MAX_STUDIES:]
                statuses = [progress(connection, info) for info in infos]
        except StoreError:
            yield GaugeMetricFamily("nas_store_up", _UP, value=0)
            return
        yield GaugeMetricFamily("nas_store_up", _UP, value=1)
        for name, (text, label, read) in GAUGES.items():
            family = GaugeMetricFamily(name, text, labels=("study", *label))
            for status in statuses:
                for values, number in _samples(read(status)):
                    family.add_metric((status.study, *values), number)
            yield family


def _samples(value: "float | Mapping[str, int] | None") -> Samples:
    """Return a gauge's numbers: one for each value of a label, none where there is no number."""
    if isinstance(value, Mapping):
        return [((key,), number) for key, number in value.items()]
    return [] if value is None else [((), value)]


def bounded(failures: Mapping[str, int]) -> dict[str, int]:
    """Return the most frequent reasons, the first line of each, and the sum of all others."""
    counts: dict[str, int] = {}
    for reason, count in failures.items():
        line = (reason.strip().splitlines() or [OTHER])[0][:REASON_LENGTH]
        name = line if line in counts or len(counts) < MAX_REASONS else OTHER
        counts[name] = counts.get(name, 0) + count
    return counts


def _last_progress(status: Progress) -> float | None:
    last = status.activity.last_progress
    return None if last is None else last.replace(tzinfo=UTC).timestamp()


_UP = "Whether the store answered, 1 or 0."
# Each gauge's text, its label beside the study's, and how it is read.
GAUGES: dict[str, tuple[str, tuple[str, ...], Callable[[Progress], Any]]] = {
    "nas_trials": ("Trials by state.", ("state",), lambda s: vars(s.counts)),
    "nas_failures": ("Failed trials by reason.", ("reason",), lambda s: bounded(s.failures)),
    "nas_workers": ("Workers that hold a lease.", (), lambda s: s.activity.working),
    "nas_epochs": ("Epochs trained.", (), lambda s: s.activity.overall.epochs),
    "nas_budget_trials": ("Trials of the budget.", (), lambda s: s.budget),
    "nas_done": ("Whether the budget is spent and nobody is at work.", (), lambda s: s.is_done),
    "nas_best_score": ("Score of the best trial.", (), lambda s: s.best and s.best.score),
    "nas_epoch_seconds": (
        "Mean seconds of an epoch of complete trials.", (), lambda s: s.epoch_seconds or None,
    ),
    "nas_remaining_seconds": ("Estimated seconds left.", (), lambda s: s.remaining),
    "nas_last_progress_timestamp_seconds": (
        "Unix time of the last epoch or end of a trial.", (), _last_progress,
    ),
}  # fmt: skip


class Endpoint(NamedTuple):
    """A server that answers scrapes in a thread of its own."""

    address: str
    close: Callable[[], None]


def serve(
    store: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 9108,
    names: Collection[str] = (),
) -> Endpoint:
    """Answer scrapes of /metrics from now on, at any free port; `names` are others that reach it.

    Raises UserError for an address that can't be listened at, and StoreError for what is no store.
    """
    try:
        from prometheus_client import CollectorRegistry, make_wsgi_app
    except ImportError:
        raise UserError(
            "Numbers for a monitor need a package: pip install 'nas[metrics]'."
        ) from None
    url = resolve(store)
    with listening(host, port), queries.connect(url):  # a mistake is told now, not in a scrape
        registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector(url))
    server = bound(make_wsgi_app(registry), host, port, names)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return Endpoint(f"http://{host}:{server.server_port}/metrics", close)
