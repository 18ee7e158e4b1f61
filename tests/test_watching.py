"""Watching: workers, pace, pauses and time left from the rows alone, pages, Ctrl-C."""

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from search_kit import SPACE, arguments, command, nas, read_until, result
from store_kit import (
    CONFIG,
    SERVER,
    has_postgresql,
    opened,
    point,
    proposal,
    ready_file,
    scratch_database,
    trials,
)
from typer.testing import CliRunner

from nas.cli import app
from nas.commands import logs as log_commands
from nas.commands import studies as commands
from nas.commands.watch import lines, watch
from nas.errors import StoreError, UserError
from nas.observers import journal
from nas.report.events import event_line
from nas.store import queries
from nas.store.store import Store
from nas.store.trials import Trials
from nas.study.progress import Progress, Run, progress


def look(store: Store, run: Run | None = None) -> Progress:
    """Return the progress of the study of the kit."""
    with store.read() as connection:
        return progress(connection, queries.study(connection, "s"), run)


def train(
    mine: Trials, name: str, *, epochs: int = 3, fidelity: int = 3, of: int | None = None
) -> None:
    """Train a network to its end, perhaps as the promotion of a trial."""
    lease = mine.start(replace(proposal(name, fidelity=fidelity), promoted_from=of)).lease
    assert lease is not None
    for epoch in range(1, epochs + 1):
        mine.report(lease, point(epoch))
    mine.finish(lease, "complete", metrics={"accuracy": 0.5}, seconds=2.0 * epochs)


def set_config(store: Store, **limits: object) -> None:
    """Give the study of the kit limits, as nas resume does."""
    store.create_study("s", {**CONFIG, **limits})


def shift(store: Store, evaluation: str, hours: float) -> None:
    """Let what happened to a network have happened so many hours earlier."""
    with store.write() as connection:
        select_ = sa.text(
            "SELECT e.id, e.created, e.finished FROM nas_evaluations e"
            " WHERE e.architecture_id = :name"
        ).columns(created=sa.DateTime(), finished=sa.DateTime())
        row = connection.execute(select_, {"name": evaluation}).one()
        by = timedelta(hours=hours)
        times = {"created": row.created - by, "finished": row.finished - by}
        for table, columns in (
            ("nas_evaluations", ("created", "finished")),
            ("nas_curve_points", ("created",)),
        ):
            key = "id" if table == "nas_evaluations" else "evaluation_id"
            for column in columns:
                connection.execute(
                    sa.text(f"UPDATE {table} SET {column} = :at WHERE {key} = :id").bindparams(
                        sa.bindparam("at", times[column], sa.DateTime())
                    ),
                    {"id": row.id},
                )


def move_beginning(store: Store, hours: float) -> None:
    """Let the study have begun so many hours ago."""
    with store.write() as connection:
        at = datetime.fromisoformat(look(store).activity.now.isoformat()) - timedelta(hours=hours)
        statement = sa.text("UPDATE nas_studies SET created = :at")
        connection.execute(statement.bindparams(sa.bindparam("at", at, sa.DateTime())))


def test_a_worker_is_shown_with_its_trial_epoch_attempt_and_lease(store: Store) -> None:
    """Who holds a lease is told by name and host, with how far the trial is."""
    mine = trials(store, worker="box:12:1")
    lease = mine.start(proposal()).lease
    assert lease is not None
    mine.report(lease, point(1))
    mine.report(lease, point(2))
    (holder,) = look(store).activity.holders
    assert (holder.name, holder.host, holder.trial) == ("box:12:1", "box", 0)
    assert (holder.epoch, holder.epochs, holder.attempt) == (2, 3, 1)
    assert 50 < holder.lease_left <= 60
    assert holder.lives


def test_a_dead_worker_and_one_that_let_go_are_not_at_work(store: Store) -> None:
    """An expired lease and a released one are told apart from one that holds."""
    dead = trials(store, worker="box:1:1", lease=0.01)
    dead.start(proposal("a"))
    gone = trials(store, worker="box:1:2")
    lease = gone.start(proposal("b")).lease
    assert lease is not None
    gone.release(lease)
    time.sleep(0.05)
    found = look(store)
    assert [holder.name for holder in found.activity.holders] == ["box:1:1", ""]
    assert found.activity.working == 0
    assert found.remaining is None
    assert found.activity.holders[0].lease_left < 0


def test_the_attempt_of_a_trial_that_was_taken_over_is_told(store: Store) -> None:
    """After a death the new worker and its attempt are shown, with the epochs that were kept."""
    dead = trials(store, worker="box:1:1", lease=0.01)
    lease = dead.start(proposal("a")).lease
    assert lease is not None
    dead.report(lease, point(1))
    time.sleep(0.05)
    assert trials(store, worker="other:2:1").adopt() is not None
    (holder,) = look(store).activity.holders
    assert (holder.host, holder.attempt, holder.epoch) == ("other", 2, 1)


def test_a_worker_that_waits_is_told_by_its_log(store: Store, tmp_path: Path) -> None:
    """The last line of a log that was written just now gives the reason; a Ray cluster's is one."""
    trials(store)
    set_config(store, folder=str(tmp_path))
    (tmp_path / "logs").mkdir()
    other, log = tmp_path / "logs" / "ray.log", tmp_path / "logs" / "worker1.log"
    waits = "2026-01-02 03:04:05,678 WARNING waiting for the database: it is locked\n"
    log.write_text(f"begun\n{waits}")
    assert look(store).waiting == "waiting for the database: it is locked"
    log.write_text(f"{waits}2026-01-02 03:04:06,678 WARNING the database answers again\n")
    other.write_text("no word\n" * 10_000)
    assert look(store).waiting is None
    with other.open("a") as more:
        more.write(f"(NasWorker pid=3) {waits}")
    shown = lines(look(store))
    assert shown[-1] == "  waiting for the database: it is locked"
    os.utime(other, (0, 0))  # of a worker that was killed long ago
    assert look(store).waiting is None


def test_the_pace_counts_trials_and_epochs(store: Store) -> None:
    """The pace is trials that ended and epochs that were stored, over the time they took."""
    mine = trials(store)
    for name in "abc":
        train(mine, name)
    mine.start(proposal("d"))
    move_beginning(store, 2)
    shift(store, "a", 1)
    shift(store, "b", 1)
    found = look(store)
    assert (found.activity.overall.trials, found.activity.overall.epochs) == (3, 9)
    assert (found.activity.recent.trials, found.activity.recent.epochs) == (1, 3)
    assert found.activity.recent.seconds <= 900
    assert found.epoch_seconds == 2.0


def test_a_promoted_network_is_counted_once(store: Store) -> None:
    """The epochs that a promotion brings along were not trained again."""
    mine = trials(store)
    train(mine, "a", epochs=1, fidelity=1)
    train(mine, "a", epochs=3, fidelity=3, of=0)
    found = look(store)
    assert (found.activity.overall.trials, found.activity.overall.epochs) == (1, 3)
    assert (found.activity.recent.trials, found.activity.recent.epochs) == (1, 3)


def test_a_pause_is_found_and_taken_off_the_time(store: Store) -> None:
    """Hours in which nothing was stored are a pause, not slow work."""
    mine = trials(store)
    train(mine, "a")
    train(mine, "b")
    move_beginning(store, 3)
    shift(store, "a", 3)
    found = look(store)
    (pause,) = found.activity.pauses
    assert pause.seconds == pytest.approx(3 * 3600, abs=30)
    assert found.activity.overall.seconds < 60


def test_an_epoch_that_takes_long_is_no_pause(store: Store) -> None:
    """What is too long without progress depends on the longest epoch."""
    mine = trials(store)
    train(mine, "a")
    train(mine, "b")
    shift(store, "a", 1)
    with store.write() as connection:
        connection.execute(sa.text("UPDATE nas_curve_points SET seconds = 3000"))
    assert look(store).activity.pauses == ()


def test_time_left_follows_from_budget_and_pace(store: Store) -> None:
    """Three trials in an hour, so the two that are left of five, none half done, take 40 min."""
    mine = trials(store)
    set_config(store, trials=5)
    for name in "abc":
        train(mine, name)
        shift(store, name, 0.5)
    move_beginning(store, 1)
    with store.write() as connection:
        connection.execute(sa.text("UPDATE nas_curve_points SET seconds = 3000"))
    mine.start(proposal("d"))
    found = look(store)
    assert (found.spent, found.budget) == (4, 5)
    assert found.remaining == pytest.approx(2 * 1200, rel=0.02)


def test_the_time_limit_ends_first_where_it_is_near(store: Store) -> None:
    """Of the budget's two limits the nearer one is told."""
    mine = trials(store)
    set_config(store, trials=1000, seconds=60.0)
    train(mine, "a")
    mine.start(proposal("b"))
    remaining = look(store).remaining
    assert remaining is not None
    assert 0 < remaining <= 60


def test_a_study_is_done_when_its_budget_is_spent_and_nobody_works(store: Store) -> None:
    """A trial that runs, or that died and waits, keeps a study from being done."""
    mine = trials(store)
    set_config(store, trials=2)
    train(mine, "a")
    assert not look(store).is_done
    lease = mine.start(proposal("b")).lease
    assert lease is not None
    assert not look(store).is_done
    mine.finish(lease, "complete", metrics={"accuracy": 0.5})
    assert look(store).is_done


def test_an_empty_study_has_nothing_to_tell(store: Store) -> None:
    """Before the first trial there is no pace, no progress and no estimate."""
    trials(store)
    found = look(store)
    assert found.activity.holders == found.activity.pauses == ()
    assert (
        found.activity.overall.trials,
        found.activity.overall.epochs,
        found.activity.last_progress,
    ) == (0, 0, None)
    assert found.remaining is None


def run(store: Store, **limits: Any) -> Progress:
    """Return the progress as the driver of a search reads it, begun now."""
    given = {"began": time.monotonic(), "trials": None, "deadline": None, "estimate": 0.0} | limits
    return look(store, Run(**given))


def test_the_estimate_holds_until_half_a_trial_is_trained(store: Store) -> None:
    """Before, the pre-flight tells the time left, less what is trained; then the pace does."""
    mine = trials(store)
    assert run(store, trials=4, estimate=100.0).remaining == 400
    lease = mine.start(proposal("a")).lease
    assert lease is not None
    assert run(store, trials=4, estimate=100.0).remaining == 400
    mine.report(lease, point(1))
    assert run(store, trials=4, estimate=100.0).remaining == pytest.approx(100 * (3 + 2 / 3))
    mine.report(lease, point(2))
    move_beginning(store, 1)
    with store.write() as connection:  # an epoch of that length is no pause
        connection.execute(sa.text("UPDATE nas_curve_points SET seconds = 3000"))
    by_pace = (3 + 1 / 3) / (2 / 3) * 3600
    assert run(store, trials=4, estimate=100.0).remaining == pytest.approx(by_pace, rel=0.02)
    assert look(store).remaining is None  # the stored study has no budget


def test_a_driver_with_a_deadline_alone_tells_the_time_to_it(store: Store) -> None:
    """Without a budget of trials the deadline is the time left, from the first moment on."""
    trials(store)
    remaining = run(store, deadline=time.monotonic() + 50, estimate=100.0).remaining
    assert remaining == pytest.approx(50, abs=5)
    assert run(store).remaining is None


def test_a_ladder_counts_a_climbing_network_as_a_part(store: Store) -> None:
    """What a promoted trial has still to train is part of the time left; its network is spent."""
    mine = trials(store)
    set_config(store, trials=2)
    train(mine, "a", epochs=1, fidelity=1)
    train(mine, "b", epochs=1, fidelity=1)
    lease = mine.start(replace(proposal("a", fidelity=4), promoted_from=0)).lease
    assert lease is not None
    mine.report(lease, point(1))
    move_beginning(store, 0.01)  # 36 seconds: no pause
    found = look(store)
    assert (found.spent, found.budget, found.fidelities) == (2, 2, {1: 2})
    # 3/4 of a training at the pace of two trainings and a quarter in 36 seconds
    assert found.remaining == pytest.approx(36 * 0.75 / 2.25, rel=0.2)
    assert not found.is_done


def test_the_share_that_is_done_counts_running_trials_in_parts(store: Store) -> None:
    """A driver sees by it whether a study comes further."""
    mine = trials(store)
    train(mine, "a")
    lease = mine.start(proposal("b")).lease
    assert lease is not None
    mine.report(lease, point(1))
    assert look(store).done == pytest.approx(1 + 1 / 3)


def test_the_number_of_queries_does_not_grow_with_the_workers(store: Store) -> None:
    """All workers come from one SELECT, whatever their number."""
    mine = trials(store)
    mine.start(proposal("a"))
    said: list[str] = []
    sa.event.listen(store.engine, "before_cursor_execute", lambda *a: said.append(a[2]))
    look(store)
    one = len(said)
    for name in "bcdef":
        mine.start(proposal(name))
    said.clear()
    assert len(look(store).activity.holders) == 6
    assert len(said) == one


def test_watching_imports_neither_torch_nor_optuna() -> None:
    """What nas status, logs and metrics need starts quickly."""
    code = (
        "import sys; from nas.commands import watch, logs; from nas.service import metrics;"
        " from nas.report import events; import nas.cli.verbs; heavy = {'torch',"
        " 'optuna', 'alembic', 'numpy', 'sqlalchemy.orm'}; print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "[]"


@contextmanager
def closed(url: str) -> Iterator[None]:
    """Take a store away for a while: a file elsewhere, a database that ends all connections."""
    if url.startswith("sqlite"):
        file = Path(url.removeprefix("sqlite:///"))
        file.rename(file.with_suffix(".away"))
        yield
        file.with_suffix(".away").rename(file)
        return
    name = url.rpartition("/")[2]
    admin = sa.create_engine(f"{SERVER}/postgres", isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
        connection.execute(sa.text(ended), {"name": name})
        yield
        connection.execute(sa.text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
    admin.dispose()


def test_watching_survives_a_store_that_goes_away_for_a_while(url: str) -> None:
    """The error is told beside what was last seen; when the store is back, it is read again."""
    with opened(url) as store:
        train(trials(store), "a")
    looks = watch(store=url, every=0.2)
    assert next(looks).error is None
    with closed(url):
        failed = next(looks)
        assert failed.error is not None
        assert [status.counts.complete for status in failed.statuses] == [1]
    with opened(url) as store:
        train(trials(store), "b")
    again = next(looks)
    assert again.error is None
    assert [status.counts.complete for status in again.statuses] == [2]


def test_no_password_is_shown_when_the_store_is_away() -> None:
    """The message names the store without its password."""
    if not has_postgresql():
        pytest.skip("no PostgreSQL answers at 127.0.0.1:5432")
    with scratch_database() as url:
        secret = url.replace("postgres@", "postgres:pa55word@")
        with opened(secret) as store:
            trials(store)
        looks = watch(store=secret, every=0.2)
        next(looks)
        with closed(url):
            message = next(looks).error
    assert message is not None
    assert "pa55word" not in message


def test_the_first_look_raises_what_is_a_mistake(tmp_path: Path) -> None:
    """A store that is not there is no store that goes away for a while."""
    with pytest.raises(StoreError, match="no such file"):
        next(watch(store=f"sqlite:///{tmp_path}/none.db"))
    with pytest.raises(UserError, match="--every is a number of seconds"):
        next(watch(store=ready_file(tmp_path), every=0))


def finished_study(folder: Path) -> str:
    """Return the store of a study whose budget is spent."""
    url = ready_file(folder)
    with opened(url) as store:
        mine = trials(store)
        set_config(store, trials=1, recipe={"metric": "accuracy", "epochs": 3})
        train(mine, "a")
    return url


def test_until_done_ends(tmp_path: Path) -> None:
    """With --until-done the page ends by itself when nothing is left to do."""
    ended = CliRunner().invoke(
        app, ["status", "s", "--watch", "--until-done", "--store", finished_study(tmp_path)]
    )
    assert ended.exit_code == 0, ended.output
    assert "s: 1 complete" in ended.output


def test_json_is_one_object_a_look(tmp_path: Path) -> None:
    """Machines read a line per look, with the workers, the pace and what is left."""
    words = ["status", "--watch", "--until-done", "--json", "--store", finished_study(tmp_path)]
    (line,) = CliRunner().invoke(app, words).stdout.splitlines()
    seen = json.loads(line)
    assert seen["error"] is None
    (study,) = seen["studies"]
    assert (study["study"], study["spent"], study["budget"]) == ("s", 1, 1)
    assert (study["workers"], study["done"], study["overall"]["epochs"]) == ([], True, 3)


@pytest.mark.parametrize("option", [["--every", "3"], ["--until-done"]])
def test_options_of_watching_want_watch(option: list[str], tmp_path: Path) -> None:
    """An option that could have no effect is refused."""
    ended = CliRunner().invoke(app, ["status", *option, "--store", ready_file(tmp_path)])
    assert ended.exit_code == 2
    assert "--watch" in ended.stderr


def test_several_studies_are_named_one_after_another(tmp_path: Path) -> None:
    """Each study that is named is shown, and no other."""
    url = ready_file(tmp_path)
    with opened(url) as store:
        for name in ("one", "two", "three"):
            trials(store, study=name)
    shown = CliRunner().invoke(app, ["status", "one", "three", "--store", url]).stdout
    assert [line.partition(":")[0] for line in shown.splitlines()] == ["one", "three"]


def test_a_line_says_where_a_trial_runs_and_where_one_stopped(store: Store, url: str) -> None:
    """nas status names worker, lease and attempt of what runs, and what waits for nas resume."""
    trials(store, worker="box:1:1").start(proposal("a"))
    trials(store, worker="box:1:2", lease=0.01).start(proposal("b"))
    time.sleep(0.05)
    (status,) = commands.status(store=url)
    shown = lines(status)
    assert any(
        re.search(r"trial 0 runs: epoch 0 of 3; box:1:1, lease \d+ s", line) for line in shown
    )
    assert any("trial 1 stopped, nas resume goes on" in line for line in shown)
    assert any("1 worker at work" in line for line in shown)


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a search with two worker processes until the tests are over; return its store."""
    folder = tmp_path_factory.mktemp("search")
    words = arguments(folder, trials=1000, epochs=12, workers=2, target_flops="700k")
    # More networks than trials: those of the small space are trained before the tests are over.
    space = SPACE.replace("(8, 16)", "(*range(8, 40))").replace("(2, 3, 4)", "(*range(2, 12))")
    (folder / "tiny.py").write_text(space)
    process = subprocess.Popen(
        command("search", *words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"sqlite:///{folder}/nas.db"
    try:
        wait_for_workers(process, url)
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(300)


def wait_for_workers(process: "subprocess.Popen[bytes]", url: str) -> None:
    """Wait until both workers train and a trial is complete."""
    until = time.monotonic() + 480
    while time.monotonic() < until:
        assert process.poll() is None
        try:
            (status,) = commands.status(store=url)
            if status.activity.working == 2 and status.counts.complete:
                return
        except (StoreError, ValueError):
            pass  # there is no store yet, or no study in it
        time.sleep(0.5)
    raise AssertionError("the workers did not begin")


@contextmanager
def ended(process: "subprocess.Popen[Any]") -> Iterator[None]:
    """End a process with the block, whatever a test finds."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate(timeout=60)


def test_status_shows_the_processes_of_a_search(search: str) -> None:
    """While two processes train, nas status --json has both, here, each on a trial of its own."""
    shown = result(nas("status", "--study", "tiny", "--json", "--store", search))
    workers = [one for one in shown["workers"] if one["lives"]]
    assert {one["host"] for one in workers} == {socket.gethostname()}
    assert len({one["name"] for one in workers}) == len(workers) <= 2
    assert len({one["trial"] for one in workers}) == len(workers)
    assert shown["overall"]["epochs"] > 0
    assert shown["recent"]["trials_per_hour"] > 0
    assert shown["remaining"] > 0


def read_to_end(terminal: int) -> str:
    """Read a terminal until nobody writes to it any more, which Linux calls an error."""
    seen, end = "", time.monotonic() + 120
    while time.monotonic() < end:
        if select.select([terminal], [], [], 1)[0]:
            try:
                seen += os.read(terminal, 65536).decode(errors="replace")
            except OSError:
                return seen
    raise AssertionError(f"it goes on: {seen[-2000:]}")


def test_ctrl_c_ends_watching_cleanly(search: str) -> None:
    """A real SIGINT ends the blocks of --watch with exit code 0 and no traceback."""
    process = subprocess.Popen(
        command("status", "tiny", "--watch", "--every", "0.3", "--store", search),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with ended(process):
        assert process.stdout is not None
        read_until(process.stdout.fileno(), "at work")
        read_until(process.stdout.fileno(), "at work")  # a second look
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, b"")


def test_a_terminal_shows_one_page(search: str) -> None:
    """On a real terminal there is a page with a table of workers, which Ctrl-C ends cleanly."""
    ours, its = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    process = subprocess.Popen(
        command("status", "--watch", "--every", "0.3", "--store", search),
        stdin=its, stdout=its, stderr=its, env=environment, start_new_session=True,
    )  # fmt: skip
    os.close(its)
    with ended(process):
        shown = read_until(ours, "lease")
        assert "of 1000 trials begun" in shown
        process.send_signal(signal.SIGINT)
        rest = read_to_end(ours)
        assert process.wait(120) == 0
        assert "Traceback" not in rest
    os.close(ours)


def test_a_search_writes_a_log_per_trial(search: str) -> None:
    """Each trial's log has its beginning, each epoch once, and its end, by the worker it names."""
    (best,) = commands.top("tiny", store=search, n=1)
    events = list(log_commands.logs("tiny", best.number, store=search))
    assert [event["event"] for event in events] == ["started", *["epoch"] * 12, "complete"]
    assert [event["epoch"] for event in events[1:-1]] == list(range(1, 13))
    assert {event["worker"] for event in events} == {best.worker}
    assert events[-1]["metrics"]["accuracy"] == best.metrics["accuracy"]


def test_logs_are_read_by_people_and_machines(search: str) -> None:
    """nas logs prints a line an event; with --json the lines are those of the file."""
    (best,) = commands.top("tiny", store=search, n=1)
    printed = nas("logs", str(best.number), "--store", search).stdout.splitlines()
    assert len(printed) == 14
    assert f"trial {best.number} epoch 12: score" in printed[12]
    raw = nas("logs", str(best.number), "--json", "--store", search).stdout
    folder = Path(search.removeprefix("sqlite:///")).parent / "studies" / "tiny"
    assert raw == journal.path_of(folder, best.number).read_text()


def test_following_logs_shows_new_events_and_ends_with_ctrl_c(search: str) -> None:
    """--follow goes on with what is written from then on, until a real SIGINT."""
    process = subprocess.Popen(
        command("logs", "--follow", "--json", "--study", "tiny", "--store", search),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    with ended(process):
        assert process.stdout is not None
        newest, began = "", datetime.now(UTC).isoformat(timespec="milliseconds")
        while newest <= began:
            read = read_until(process.stdout.fileno(), "\n")
            newest = max(re.findall(r'"time": "([^"]+)"', read), default=newest)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, "")


def test_an_absent_log_is_a_message(tmp_path: Path) -> None:
    """A study that was trained elsewhere has no log here; a trial that is not there is told."""
    url = ready_file(tmp_path)
    with opened(url) as store:
        mine = trials(store)
        set_config(store, folder=str(tmp_path))
        train(mine, "a")
    with pytest.raises(UserError, match="another machine"):
        list(log_commands.logs("s", store=url))
    with pytest.raises(StoreError, match="No trial 7 in this study; it has trials 0 to"):
        list(log_commands.logs("s", 7, store=url))


def test_an_event_is_one_line(tmp_path: Path) -> None:
    """A failure's reason and a start read as a sentence each."""
    event = {
        "time": "2026-01-02T03:04:05.678+00:00", "event": "failed", "trial": 3, "attempt": 2,
        "worker": "box:1:1", "metrics": {}, "reason": "Diverged: the loss is NaN",
    }  # fmt: skip
    assert event_line(event) == (
        "2026-01-02 03:04:05 trial 3 failed: Diverged: the loss is NaN (box:1:1, attempt 2)"
    )
