"""A store as numbers for a monitor: what Prometheus scrapes. Workers need nothing for it.

Each scrape reads the store as `nas status` does. The number of time series is bounded: the newest
studies, the most frequent reasons of failures. Importing this module imports no torch.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC
from typing import TYPE_CHECKING, NamedTuple

from nas.commands import studies as commands
from nas.errors import StoreError, UserError
from nas.service.sockets import listening
from nas.store import queries
from nas.store.engine import resolve
from nas.study.progress import Progress

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily

MAX_STUDIES = 20
MAX_REASONS = 8  # of a study; the others are counted as `other`
REASON_LENGTH = 80  # characters
OTHER = "other"


class Collector:
    """Reads the store at each scrape; a store that does not answer is `nas_store_up` 0."""

    def __init__(self, store: str) -> None:
        self.store = store

    def collect(self) -> Iterator["GaugeMetricFamily"]:
        """Yield all gauges with the numbers of this moment."""
        from prometheus_client.core import GaugeMetricFamily

        try:
            statuses = _newest(self.store)
        except StoreError:
            yield GaugeMetricFamily("nas_store_up", _UP, value=0)
            return
        yield GaugeMetricFamily("nas_store_up", _UP, value=1)
        for name, (text, labels, read) in GAUGES.items():
            family = GaugeMetricFamily(name, text, labels=("study", *labels))
            for status in statuses:
                for values, number in read(status):
                    family.add_metric((status.study, *values), number)
            yield family


def _newest(store: str) -> list[Progress]:
    with queries.connect(store) as connection:
        names = [one.name for one in queries.studies(connection)[-MAX_STUDIES:]]
    return [one for name in names for one in commands.status(name, store=store)]


Samples = Iterable[tuple[tuple[str, ...], float]]
Read = Callable[[Progress], Samples]

_UP = "Whether the store answered, 1 or 0."


def _states(status: Progress) -> Samples:
    return [((state,), count) for state, count in vars(status.counts).items()]


def _failures(status: Progress) -> Samples:
    return [((reason,), count) for reason, count in bounded(status.failures).items()]


def bounded(failures: Mapping[str, int]) -> dict[str, int]:
    """Return the most frequent reasons, the first line of each, and the sum of all others."""
    found: dict[str, int] = {}
    for reason, count in failures.items():
        line = (reason.strip().splitlines() or [OTHER])[0][:REASON_LENGTH]
        name = line if line in found or len(found) < MAX_REASONS else OTHER
        found[name] = found.get(name, 0) + count
    return found


def _one(read: Callable[[Progress], float | None]) -> Read:
    """Return a reader of one number, which is left out where there is none."""

    def samples(status: Progress) -> Samples:
        value = read(status)
        return [] if value is None else [((), value)]

    return samples


def _last_progress(status: Progress) -> float | None:
    last = status.activity.last_progress
    return None if last is None else last.replace(tzinfo=UTC).timestamp()


GAUGES: dict[str, tuple[str, tuple[str, ...], Read]] = {
    "nas_trials": ("Trials by state.", ("state",), _states),
    "nas_failures": ("Failed trials by reason.", ("reason",), _failures),
    "nas_workers": ("Workers that hold a lease.", (), _one(lambda s: s.activity.working)),
    "nas_epochs": ("Epochs trained.", (), _one(lambda s: s.activity.overall.epochs)),
    "nas_budget_trials": ("Trials of the budget.", (), _one(lambda s: s.budget)),
    "nas_done": (
        "Whether the budget is spent and nobody is at work.", (),
        _one(lambda s: s.is_done),
    ),
    "nas_best_score": (
        "Score of the best trial.", (), _one(lambda s: None if s.best is None else s.best.score),
    ),
    "nas_epoch_seconds": (
        "Mean seconds of an epoch of complete trials.", (),
        _one(lambda s: s.epoch_seconds or None),
    ),
    "nas_remaining_seconds": (
        "Estimated seconds left.", (), _one(lambda s: s.remaining),
    ),
    "nas_last_progress_timestamp_seconds": (
        "Unix time of the last epoch or end of a trial.", (), _one(_last_progress),
    ),
}  # fmt: skip


class Endpoint(NamedTuple):
    """A server that answers scrapes in a thread of its own."""

    address: str
    close: Callable[[], None]


def serve(store: str | None = None, *, host: str = "127.0.0.1", port: int = 9108) -> Endpoint:
    """Answer scrapes of /metrics from now on, at any free port for port 0.

    Raises UserError for an address that can't be listened at, and StoreError for what is no store.
    """
    try:
        from prometheus_client import CollectorRegistry, start_http_server
    except ImportError:
        raise UserError(
            "Numbers for a monitor need a package: pip install 'nas[metrics]'."
        ) from None
    with listening(host, port):
        url = resolve(store)
        with queries.connect(url):  # a mistake is told now, not at the first scrape
            registry = CollectorRegistry(auto_describe=False)
        registry.register(Collector(url))
        server, thread = start_http_server(port, host, registry)

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return Endpoint(f"http://{host}:{server.server_port}/metrics", close)
