"""nas store check: every damage that a generator plants is found, and nothing in a sound store."""

import json
import os
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import table_kit
from store_kit import opened, ready
from typer.testing import CliRunner

from nas.cli import app
from nas.config import Config
from nas.errors import Interrupted
from nas.observers import showcase
from nas.store import audit, checking, jobs, queries, searches, shape, tokens, uploads
from nas.store.records import CurvePoint, GuardWarning, Proposal
from nas.store.trials import Trials
from nas.study import worker
from nas.study.contents import compare
from nas.study.evaluator import Result, TrialControl

EVERY = os.environ.get("NAS_PLANTS") == "all"  # a minute and more: all plants, not one a column
MONTH = 30 * 86_400.0  # seconds until a token and an upload expire
# Columns of which nothing else in the store tells: another value of their type is as good.
FREE = {
    *("nas_evaluations.worker", "nas_evaluations.attempt", "nas_evaluations.expires_at"),
    *("nas_evaluations.seconds", "nas_evaluations.checkpoint", "nas_curve_points.seconds"),
    *("nas_test_looks.id", "nas_artifacts.id"),  # numbers that nothing refers to
    *("nas_test_looks.metrics", "nas_artifacts.kind", "nas_artifacts.path", "nas_jobs.id"),
    *("nas_jobs.address", "nas_jobs.words", "version_info.library_version"),
    *("study_user_attributes.key", "study_user_attributes.value_json"),
    # of which a store may have as many as it likes
    *("nas_test_looks.", "nas_artifacts.", "nas_jobs.", "study_user_attributes."),
    *("nas_searches.", "nas_uploads.", "nas_audit."),
    # what people and their programs have said, and numbers of work that is over
    *("nas_tokens.name", "nas_tokens.owner", "nas_tokens.digest", "nas_tokens.scopes"),
    *("nas_tokens.running", "nas_tokens.queued", "nas_tokens.upload_bytes"),
    *(f"nas_searches.{name}" for name in ("id", "owner", "title", "asked", "options", "message")),
    *(f"nas_searches.{name}" for name in ("client_key", "priority", "attempt", "deaths")),
    *(f"nas_searches.{name}" for name in ("worker", "expires_at", "seconds")),
    *(f"nas_uploads.{name}" for name in ("id", "owner", "name", "digest", "size", "facts")),
    *(f"nas_audit.{name}" for name in ("id", "who", "action", "subject", "outcome")),
}


class Ended(table_kit.Table):
    """The table, in which some networks fail; with `trials` known, the next one is let go."""

    def __init__(self, leaves: bool) -> None:
        self.leaves, self.left = leaves, False

    def evaluate(self, architecture: Any, fidelity: int, control: TrialControl) -> Result:
        """Report the epochs of the table, or fail, or report one and let go."""
        if self.leaves:
            control.report(CurvePoint(epoch=1, metrics=table_kit.table(architecture.id, 1)), False)
            self.left = True
            raise Interrupted("asked to stop")
        if int(architecture.id, 16) % 5 == 0:
            raise ValueError("it fails")
        return super().evaluate(architecture, fidelity, control)


def fill(url: str, folder: Path) -> None:
    """Write a study with trials in every state, and a row into every table of ours."""
    config = table_kit.study(url, folder)
    for trials in (8, 9):
        order = worker.WorkOrder(url, table_kit.STUDY, worker="host:1:1", trials=trials)
        evaluator = Ended(leaves=trials == 9)
        assert worker.run(order.to_json(), lambda: evaluator.left, evaluator) is None  # noqa: B023
    with opened(url) as store:
        of = Trials(store, table_kit.STUDY, score=config.score, worker="host:2:1", full=9)
        best = of.read(queries.best, of.info.id, 1)[0]
        again = of.shown(best.number)
        network = of.read(queries.evaluation, best.evaluation_id)
        of.start(  # reused
            Proposal(
                architecture_id=network.architecture_id,
                architecture=network.architecture,
                notation=network.notation,
                cost=network.cost,
                recipe_hash=network.recipe_hash,
                fidelity=network.fidelity,
                params=again.params,
                distributions=again.distributions,
            )
        )
        store.look_at_test(of.info.id, best.evaluation_id, {"accuracy": 0.5})
        store.add_artifact(of.info.id, "code", "best/network.py")
        store.set_warnings(of.info.id, [GuardWarning("leak", "note", "one", 1)])
        with store.write() as connection:
            jobs.add(connection, "mine", "http://host:8265", ["search"])
            token, _ = tokens.create(connection, "me", ["submit"], seconds=MONTH)
            searches.add(connection, token, searches.Wanted("mine", {}, {}, client_key="k"))
            searches.take(connection, "host:3", 60.0)
            uploads.add(connection, token, "x.npz", ("0" * 64, 9), facts={}, seconds=MONTH)
            audit.record(connection, token.id, "submit", "mine")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Yield a connection to a sound store that holds no foreign key, for plants rolled back."""
    folder = tmp_path_factory.mktemp(request.param)
    with ready(request.param, folder) as url:
        fill(url, folder)
        engine = sa.create_engine(url)
        if request.param == "sqlite":
            sa.event.listen(engine, "connect", lambda db, _: setattr(db, "isolation_level", None))
            sa.event.listen(engine, "begin", lambda c: c.exec_driver_sql("BEGIN IMMEDIATE"))
        yield engine
        engine.dispose()


VERBS = (
    *("status", "top", "top --pareto", "show", "logs", "rescore --target-flops 1M", "proxies"),
    *("store check", "store check --repair", "store upgrade", "store backup {out}/b.db --force"),
    *("store copy {store} sqlite:///{out}/c.db", "export --out {out}/e", "status --json"),
    *("recipe show table --store {store}", "resume --study table --trials 1 --workers 0"),
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the file of a sound store."""
    folder = tmp_path_factory.mktemp("sound")
    with ready("sqlite", folder) as url:
        fill(url, folder)
    return (folder / "nas.db").read_bytes()


def test_leftovers_of_killed_workers_are_removed(sound: bytes, tmp_path: Path) -> None:
    """An empty folder, an old half-written checkpoint, a picture without a row; no others' file."""
    (tmp_path / "nas.db").write_bytes(sound)
    url = f"sqlite:///{tmp_path}/nas.db"
    table_kit.study(url, tmp_path)
    with queries.connect(url) as connection:
        config = Config.from_json(queries.study(connection, table_kit.STUDY).config)
    orphan = showcase.draw_diagram(config, "table", 0, config.subject.decode(drawn(url)))
    other, empty = config.artifacts / "other", Path(config.checkpoint_root, "empty")
    other.touch()
    empty.mkdir(parents=True)
    half, written = empty / ".checkpoint-1.safetensors.99", empty.with_name("b") / "weights.part"
    half.touch()
    os.utime(half, (0, 0))
    written.parent.mkdir()
    written.touch()
    assert (config.artifacts / orphan.artifact_id).exists()
    ended = CliRunner().invoke(app, ["store", "check", "--repair", "--json", "--store", url])
    assert json.loads(ended.stdout)["removed"] == 3, ended.stderr
    assert list(config.artifacts.iterdir()) == [other]
    assert written.exists()
    assert not empty.exists()


def drawn(url: str) -> dict[str, Any]:
    """Return the parameters of a store's first trial."""
    with opened(url) as store:
        return dict(store.storage.get_all_trials(1)[0].params)


def told(verb: str, url: str, out: Path) -> None:
    """Run a verb on a damaged store: it ends by itself or with one message, without a traceback."""
    words = verb.format(store=url, out=out).split()
    words += [] if "{store}" in verb else ["--store", url]
    ended = CliRunner().invoke(app, words)
    assert ended.exception is None or isinstance(ended.exception, SystemExit), (verb, ended)
    assert ended.exit_code in (0, 1, 2), (verb, ended.output)


@pytest.mark.parametrize("seed", range(500 if EVERY else 25))
def test_damaged_bytes_are_told(
    seed: int, sound: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes of any page are changed, or the file is cut: no verb ends in a traceback."""
    monkeypatch.chdir(tmp_path)
    rng, content = random.Random(seed), bytearray(sound)
    for _ in range(rng.choice((1, 30, 3000))):
        content[rng.randrange(100, len(content))] = rng.randrange(256)
    if rng.random() < 0.2:
        del content[rng.randrange(len(content)) :]
    (tmp_path / "nas.db").write_bytes(content)
    told(rng.choice(VERBS), f"sqlite:///{tmp_path}/nas.db", tmp_path)


def wrong(connection: sa.Connection) -> list[str]:
    """Return what a check finds wrong."""
    return [each.what for each in checking.look_over(connection, compare) if each.wrong]


def quoted(value: object) -> str:
    """Return a value in SQL."""
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)


def damages(value: Any) -> Iterator[str]:
    """Yield values, in SQL, that a stored value may be damaged to."""
    if isinstance(value, str):
        yield from map(quoted, ("{{{", "", "[]", "5", f"{value}x", value[:-1]))
    elif isinstance(value, int | float):
        yield from (f"{value} + 1", "-7", "1000000", "'garbage'")
    if value is not None:
        yield from ("NULL", "X'ff00'")


def plants(connection: sa.Connection) -> Iterator[tuple[str, list[str]]]:
    """Yield for each table, each of its columns and parts statements that damage it."""
    rng = random.Random(0)
    for name, table in shape.tables().items():
        plain = [
            column if column.type.python_type in (int, float) else sa.cast(column, sa.Text)
            for column in table.c
        ]
        rows = connection.execute(sa.select(*plain).order_by(*table.primary_key)).all()
        yield "", [f"DROP TABLE {name} CASCADE", f"DROP TABLE {name}"]
        yield "", [f"ALTER TABLE {name} ADD COLUMN mine INTEGER"]
        yield "", [f"CREATE INDEX mine ON {name} ({', '.join(table.primary_key.columns.keys())})"]
        yield from (("", [f"DROP INDEX {index.name}"]) for index in table.indexes)
        yield from (
            ("", [f"ALTER TABLE {name} DROP COLUMN {each}"]) for each in list(table.c.keys())
        )
        for row in rng.sample(rows, min(2 if EVERY else 1, len(rows))):
            values = dict(zip(table.c.keys(), row, strict=True))
            keys = [f"{key.name} = {quoted(values[key.name])}" for key in table.primary_key]
            where = " AND ".join(keys)
            yield f"{name}.", [f"DELETE FROM {name} WHERE {where}"]
            for column, value in values.items():
                others = [each for each in damages(value) if each != quoted(value)]
                rng.shuffle(others)
                changes = [f"UPDATE {name} SET {column} = {each} WHERE {where}" for each in others]
                yield f"{name}.{column}", changes


def is_free(place: str) -> bool:
    """Tell whether nothing else tells of a column's value: a time, a number of Optuna's."""
    name, _, column = place.partition(".")
    if place in FREE or not column:
        return place in FREE
    of = shape.tables()[name].c[column]
    is_number = of.primary_key and not name.startswith("nas_") and name not in ("studies", "trials")
    return is_number or isinstance(of.type, sa.DateTime)


def found_after(connection: sa.Connection, statement: str) -> list[str] | None:
    """Return what a check finds wrong after a statement, None where the database refuses it."""
    transaction = connection.begin()
    try:
        connection.exec_driver_sql(statement)
    except sa.exc.SQLAlchemyError:
        return None
    else:
        return wrong(connection)
    finally:
        transaction.rollback()


def test_every_planted_damage_is_found(store: sa.Engine) -> None:
    """A row, a column, a value of each table: gone, of another type, or another one."""
    planted, missed = 0, []
    with store.connect() as connection:
        if store.dialect.name == "postgresql":
            connection.exec_driver_sql("SET session_replication_role = replica")
        assert wrong(connection) == []
        kinds = list(plants(connection))
        connection.commit()
        for place, statements in kinds:
            found = (found_after(connection, each) for each in statements)
            accepted = (
                each for each in zip(statements, found, strict=False) if each[1] is not None
            )
            for statement, wrongs in accepted if EVERY else islice(accepted, 1):
                planted += 1
                if not wrongs and not is_free(place):
                    missed.append(statement)
    assert missed == []
    assert planted >= 100
