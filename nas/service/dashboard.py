"""Optuna's dashboard on a store, in this process: no other program is told the store's URL."""

from collections.abc import Callable, Collection
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from nas.errors import UserError
from nas.quantities import plain
from nas.service.server import bound
from nas.service.sockets import is_loopback
from nas.store import engine as engines
from nas.store import queries
from nas.store.dashboard import FOLDER

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

DIGITS = 4  # after the point
INSTALL = "pip install 'nas[dashboard]'"


class Folders:
    """Optuna's artifact store over the artifacts folders of all studies, or over one that is given.

    A study that is begun while the dashboard runs is found too.
    """

    def __init__(self, url: str, given: Path | None = None) -> None:
        self._url, self._given = url, given
        self._known: list[Path] = []

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Open an artifact; raises Optuna's ArtifactNotFound where no folder has it."""
        return self._path(artifact_id).open("rb")

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Write what somebody uploads in the dashboard."""
        folder = (self._known or self._folders())[0]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / artifact_id).write_bytes(content_body.read())

    def remove(self, artifact_id: str) -> None:
        """Delete an artifact; one that lies on another machine is left to it."""
        from optuna.artifacts.exceptions import ArtifactNotFound

        with suppress(ArtifactNotFound):
            self._path(artifact_id).unlink(missing_ok=True)

    def _path(self, artifact_id: str) -> Path:
        from optuna.artifacts.exceptions import ArtifactNotFound

        if Path(artifact_id).name == artifact_id:
            for folder in (*self._known, *self._folders()):
                if (folder / artifact_id).is_file():
                    return folder / artifact_id
        raise ArtifactNotFound(f"No artifact {artifact_id!r}.")

    def _folders(self) -> list[Path]:
        if self._given is not None:
            self._known = [self._given]
        else:
            with queries.connect(self._url) as connection:
                folders = [study.folder for study in reversed(queries.studies(connection))]
            paths = dict.fromkeys(Path(folder).parent / FOLDER for folder in folders if folder)
            self._known = [*paths] or [Path("studies", FOLDER)]
        return self._known


def serve(
    store: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    artifacts: str | None = None,
    names: Collection[str] = (),
    say: Callable[[str], None] = print,
) -> None:
    """Serve Optuna's dashboard on a store until Ctrl-C; `names` are others that reach it.

    Raises UserError without optuna-dashboard and for an address that can't be had, StoreError
    where there is no store.
    """
    url = engines.resolve(store)
    app = application(url, None if artifacts is None else Path(plain(artifacts)))
    server = bound(app, host, port, names)
    shown = f"[{host}]" if ":" in host else host
    say(f"dashboard of {engines.masked(url)}: http://{shown}:{server.server_port}/")
    if not is_loopback(host):
        say("It has no login: whoever reaches this address can read and delete all studies.")
    say("Ctrl-C ends it.")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        say("")
    finally:
        server.server_close()


def application(url: str, artifacts: Path | None = None) -> Any:
    """Return Optuna's dashboard of a store as a WSGI application."""
    try:
        from optuna_dashboard._app import create_app
    except ImportError:
        raise UserError(f"The dashboard is a package of its own: {INSTALL}.") from None
    if artifacts is not None and not artifacts.is_dir():
        raise UserError(f"--artifacts is a folder, not {str(artifacts)!r}.")
    with queries.connect(url) as connection:  # there is a store, or StoreError says so
        queries.studies(connection)
    return create_app(_storage(url), artifact_store=Folders(url, artifacts))


def _storage(url: str) -> "BaseStorage":
    """Return Optuna's storage, with the first of equal trials as the best, as in `nas top`.

    The best trial's value, which the page prints large and as it is, has as many digits as people
    read; the store and the other trials keep all of them.
    Finished trials are kept in memory: the plain dashboard reads all of them every few seconds.
    """
    from optuna.storages import RDBStorage, get_storage
    from optuna.trial import FrozenTrial

    parsed = engines.parse(url)
    text = parsed.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    with engines.translated(parsed, "open"):
        storage = RDBStorage(
            text,
            engine_kwargs=engines.engine_options(parsed),
            skip_compatibility_check=True,
            skip_table_creation=True,
        )
        cached = get_storage(storage)
    optunas_best = cached.get_best_trial

    def best_trial(study_id: int) -> FrozenTrial:
        with queries.connect(url) as connection:
            best = queries.best(connection, study_id, 1)
        if not best:
            return optunas_best(study_id)
        number = best[0].number
        trial = cached.get_trial(cached.get_trial_id_from_study_id_trial_number(study_id, number))
        shown = copy(trial)
        shown.value = None if trial.value is None else round(trial.value, DIGITS)
        return shown

    # Of the outermost storage: the cache around a storage asks no best trial of it.
    cached.get_best_trial = best_trial  # type: ignore[method-assign]
    return cached
