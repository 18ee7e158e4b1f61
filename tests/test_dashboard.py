"""Optuna's dashboard on our store: what trials and studies carry, and the server that shows it."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from PIL import Image
from search_kit import arguments, command, nas, nas_here, read_until, result, write_inputs
from store_kit import ready, ready_file

from nas import network
from nas.blocks.notation import notation
from nas.commands.search import search
from nas.commands.studies import top
from nas.errors import LostLease, StoreError, UserError
from nas.observers import showcase
from nas.service import dashboard
from nas.service.server import bound
from nas.store import dashboard as shown
from nas.store import dialects, queries
from nas.store import engine as engines
from nas.store.records import CurvePoint, Lease, Proposal
from nas.store.store import Store
from nas.store.trials import Trials
from nas.study import options as options_of
from nas.study import preparation

PASSWORD = "s3cr3t-horse"
PLAIN = "from optuna_dashboard._cli import main; main()"
MEASURED = {"accuracy": 0.9, "predicted_classes": 2.0, "majority_rate": 0.5}


@dataclass(frozen=True)
class World:
    """A study that was begun, and what shows it."""

    store: Store
    prepared: preparation.Prepared
    trials: Trials
    case: showcase.Showcase

    def begin(self, seed: int = 0, trials: Trials | None = None) -> Lease:
        """Begin to train the network of a seed, and tell the showcase."""
        space = self.prepared.config.space
        values = space.sample(random.Random(seed))
        network_of = self.prepared.config.subject.decode(values)
        proposal = Proposal(
            architecture_id=network_of.id,
            architecture=network_of,
            notation="\n".join(notation(network_of)),
            cost=network.cost(network_of),
            recipe_hash=self.prepared.config.recipe.hash,
            fidelity=2,
            params={},
            distributions={},
        )
        started = (trials or self.trials).start(proposal)
        assert started.lease is not None
        assert started.evaluation is not None
        self.case.started(started.lease, started.evaluation)
        return started.lease

    def train(self, lease: Lease, seconds: float) -> None:
        """Train two epochs of this many seconds each."""
        for epoch in (1, 2):
            point = CurvePoint(epoch=epoch, metrics=MEASURED, seconds=seconds)
            self.case.epoch(lease, point, self.trials.report(lease, point))

    def tell(self, lease: Lease, state: Any = "complete", reason: str | None = None) -> None:
        """End a trial as a worker does."""
        metrics = MEASURED if state == "complete" else {}
        self.case.ending(lease, state, metrics, reason)
        self.trials.finish(lease, state, metrics=metrics, reason=reason)
        self.case.ended(lease, state, metrics, reason)

    def shown(self) -> Any:
        """Return the study as the dashboard's page gets it."""
        with served(self.store.url.render_as_string(hide_password=False)) as address:
            return page(address, "/api/studies/1")


@contextmanager
def opened(url: str, folder: Path, **options: Any) -> Iterator[World]:
    """Open a study in a store."""
    space, data = write_inputs(folder)
    out = str(folder / "studies")
    chosen = {"study": "tiny", "store": url, "out": out, "epochs": 2, "pruner": "none"} | options
    chosen |= {"space": space, "data": data, "target_flops": "50k"}
    prepared = preparation.prepare(options_of.read(chosen))
    store = preparation.open_study(prepared)
    config = prepared.config
    mine = Trials(store, "tiny", score=config.score, worker="w1", full=config.recipe.epochs)
    yield World(store, prepared, mine, showcase.Showcase(config, store, "tiny"))
    store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """Open a study in each kind of store."""
    with ready(request.param, tmp_path) as url, opened(url, tmp_path) as made:
        yield made


@pytest.fixture
def one(tmp_path: Path) -> Iterator[World]:
    """Open a study in a file."""
    with opened(ready_file(tmp_path), tmp_path) as made:
        yield made


@contextmanager
def running(*words: str, env: dict[str, str] | None = None) -> Iterator["subprocess.Popen[str]"]:
    """Run a server, and stop it by Ctrl-C."""
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


@contextmanager
def served(url: str) -> Iterator[str]:
    """Serve a store as `nas dashboard` does, in a thread of this process; yield the address."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "engine_options", unpooled)
        app = dashboard.application(url)
    server = bound(app, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(60)
        server.server_close()


def unpooled(url: sa.URL) -> dict[str, Any]:
    """Return the options of an engine that leaves no connection open behind it."""
    options = dialects.of(url).options(url)
    return {k: v for k, v in options.items() if "pool" not in k} | {"poolclass": sa.NullPool}


def fetch(address: str, path: str) -> bytes:
    """Return what a path of the dashboard answers, once it answers."""
    for _ in range(120):
        try:
            with urllib.request.urlopen(f"{address}{path}", timeout=60) as answer:
                return bytes(answer.read())
        except ConnectionError:
            time.sleep(0.5)
        except urllib.error.URLError as error:
            if isinstance(error, urllib.error.HTTPError):
                raise
            time.sleep(0.5)
    raise AssertionError(f"no answer at {address}")


def page(address: str, path: str) -> Any:
    """Return what the dashboard's API answers."""
    return json.loads(fetch(address, path))


def diagrams(trial: Any) -> list[str]:
    """Return the ids of a trial's diagrams."""
    return [one["artifact_id"] for one in trial["artifacts"] if one["mimetype"] == "image/png"]


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_trial_carries_its_note_and_its_diagram(world: World) -> None:
    """The dashboard shows a trial's score in parts, its stages, code, curve and diagram."""
    lease = world.begin()
    world.train(lease, seconds=60)
    world.tell(lease)
    url = world.store.url.render_as_string(hide_password=False)
    with served(url) as address:
        study = page(address, "/api/studies/1")
        trial = study["trials"][0]
        (image,) = diagrams(trial)
        picture = Image.open(BytesIO(fetch(address, f"/artifacts/1/{trial['trial_id']}/{image}")))
    for part in ("Trial 0: complete", "validation accuracy | 0.9000", "| stage1 |", "factor",
                 "class Network(nn.Module)", "1: 0.900, 2: 0.900; 2 min of training"):  # fmt: skip
        assert part in trial["note"]["body"], part
    assert picture.size > (700, 500)
    assert study["objective_names"] == ["score"]
    assert "**Best:** trial 0" in study["note"]["body"]
    assert "which network of the space `tiny`" in study["note"]["body"]
    (figure,) = study["plotly_graph_objects"]
    traces = {trace["name"]: trace for trace in json.loads(figure["graph_object"])["data"]}
    assert traces["winner"]["x"] == [lease.cost.macs]
    assert {point["step"] for point in trial["intermediate_values"]} == {1, 2}


def test_the_code_is_a_file_that_runs(one: World, tmp_path: Path) -> None:
    """A trial's artifact network.py builds the network with torch alone."""
    lease = one.begin()
    one.train(lease, seconds=60)
    one.tell(lease)
    (file,) = [a for a in one.shown()["trials"][0]["artifacts"] if a["filename"] == "network.py"]
    path = one.prepared.config.artifacts / file["artifact_id"]
    ended = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=300)
    assert f"params: {lease.cost.params}, as stated" in ended.stdout, ended.stderr


def test_the_plain_dashboard_shows_the_same(one: World) -> None:
    """`optuna-dashboard URL --artifact-dir FOLDER` shows notes, figure and diagrams, untouched."""
    lease = one.begin()
    one.train(lease, seconds=60)
    one.tell(lease)
    url = one.store.url.render_as_string(hide_password=False)
    port = free_port()
    folder = str(one.prepared.config.artifacts)
    words = (url, "--port", str(port), "--artifact-dir", folder)
    address = f"http://127.0.0.1:{port}"
    with running(sys.executable, "-c", PLAIN, *words):
        study = page(address, "/api/studies/1")
        trial = study["trials"][0]
        (image,) = diagrams(trial)
        assert fetch(address, f"/artifacts/1/{trial['trial_id']}/{image}").startswith(b"\x89PNG")
    assert "class Network" in trial["note"]["body"]
    assert study["plotly_graph_objects"]
    assert study["best_trials"][0]["number"] == 0


def test_a_running_trial_is_shown_once_it_is_paid_for(one: World) -> None:
    """A long training shows its diagram and its note before it ends."""
    lease = one.begin()
    one.train(lease, seconds=60)
    (trial,) = one.shown()["trials"]
    assert trial["state"] == "Running"
    assert "Trial 0: running" in trial["note"]["body"]
    assert len(diagrams(trial)) == 1


def test_a_short_training_pays_for_its_note_alone(one: World) -> None:
    """Where 2 % of the training is less than the diagram takes, there is none, but the numbers."""
    lease = one.begin()
    one.train(lease, seconds=0.1)
    one.tell(lease)
    (trial,) = one.shown()["trials"]
    assert trial["artifacts"] == []
    assert "**score**" in trial["note"]["body"]
    assert "class Network" not in trial["note"]["body"]


def test_a_failed_trial_says_why_without_credentials(one: World) -> None:
    """The reason stands in the note of the trial and of the study; a URL's password does not."""
    lease = one.begin()
    one.tell(lease, "failed", f"Diverged: at postgresql://me:{PASSWORD}@host/db\nline two")
    showcase.show_study(one.store, one.prepared.config, "tiny")
    study = one.shown()
    for note in (study["note"]["body"], study["trials"][0]["note"]["body"]):
        assert "Diverged: at postgresql://me:***@host/db line two" in note
        assert PASSWORD not in note


def test_what_a_person_wrote_under_the_line_stays(one: World) -> None:
    """The study's note is written anew, and what was added in the dashboard is kept."""
    keys = {"study": 1, "key": "dashboard:note_str:0"}
    showcase.show_study(one.store, one.prepared.config, "tiny")
    with one.store.write() as connection:
        where = "study_id = :study AND key = :key"
        body = json.loads(
            connection.execute(
                sa.text(f"SELECT value_json FROM study_system_attributes WHERE {where}"), keys
            ).scalar_one()
        )
        text = json.dumps(f"{body}\n\nAsk Ada about trial 3.")
        connection.execute(
            sa.text(f"UPDATE study_system_attributes SET value_json = :text WHERE {where}"),
            keys | {"text": text},
        )
    lease = one.begin()
    one.tell(lease)
    showcase.show_study(one.store, one.prepared.config, "tiny")
    note = one.shown()["note"]
    assert note["body"].endswith("Ask Ada about trial 3.")
    assert "**Best:** trial 0" in note["body"]


def test_a_replaced_worker_shows_nothing(world: World) -> None:
    """Who has lost a trial to another worker can't write over that one's note."""
    lease = world.begin()
    world.trials.release(lease)
    config = world.prepared.config
    other = Trials(world.store, "tiny", score=config.score, worker="w2", full=2)
    adopted = other.adopt()
    assert adopted is not None
    assert adopted.lease is not None
    shown.show_trial(world.store, 1, adopted.lease, "the newer note")
    with pytest.raises(LostLease):
        shown.show_trial(world.store, 1, lease, "the older note")
    world.case.ending(lease, "failed", {}, "it woke up")
    (trial,) = world.shown()["trials"]
    assert trial["note"]["body"].startswith("the newer note")


def test_a_reused_trial_says_where_from(tmp_path: Path) -> None:
    """A study that begins with what another trained shows these trials, and their origin."""
    space, data = write_inputs(tmp_path)
    where = {"store": f"sqlite:///{tmp_path}/nas.db", "out": str(tmp_path / "studies")}
    quick: Any = {"epochs": 1, "workers": 0, "finalists": 0, "pruner": "none", **where}
    search(space, data, "50k", trials=2, study="first", **quick)
    search(space, data, "50k", trials=1, study="second", **quick)
    with served(where["store"]) as address:
        trials = page(address, "/api/studies/2")["trials"]
        best = page(address, "/api/studies/2")["best_trials"][0]
    reused = [t for t in trials if "Reused from first/" in t["note"]["body"]]
    assert len(reused) == 2
    assert all(len(diagrams(trial)) == 1 for trial in reused)
    assert best["number"] == top("second", store=where["store"], n=1)[0].number


def test_a_study_can_be_deleted_with_its_artifacts(one: World) -> None:
    """Deleting a study in the plain dashboard finds each artifact once, and removes its file."""
    for seed in (0, 1):
        lease = one.begin(seed)
        one.train(lease, seconds=60)
        one.tell(lease)
    facts = showcase.read_facts(one.store, one.prepared.config, "tiny")
    showcase.show_end(one.store, one.prepared.config, facts, lease.architecture, [])
    folder = one.prepared.config.artifacts
    assert list(folder.iterdir())
    url = one.store.url.render_as_string(hide_password=False)
    port = free_port()
    words = (url, "--port", str(port), "--artifact-dir", str(folder))
    with running(sys.executable, "-c", PLAIN, *words):
        fetch(f"http://127.0.0.1:{port}", "/api/meta")
        request = urllib.request.Request(f"http://127.0.0.1:{port}/api/studies/1", method="DELETE")
        request.add_header("Content-Type", "application/json")
        request.data = b"{}"
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 204
    assert list(folder.iterdir()) == []


def test_the_best_is_the_one_of_nas_top(world: World) -> None:
    """Pruned trials and later repeats of the same score are not passed off as the best.

    Of equal scores `nas top` shows the cheapest first, and Optuna the earliest.
    """
    for seed in range(3):
        lease = world.begin(seed)
        world.train(lease, seconds=1)
        world.tell(lease, "pruned" if seed == 0 else "complete")
    url = world.store.url.render_as_string(hide_password=False)
    (best,) = top("tiny", store=url, n=1)
    with world.store.write() as connection:  # the same score twice more
        for number in (3, 4):
            connection.execute(
                sa.text(
                    "INSERT INTO trials (number, study_id, state) VALUES (:number, 1, 'COMPLETE')"
                ),
                {"number": number},
            )
            trial_id = connection.execute(sa.text("SELECT max(trial_id) FROM trials")).scalar_one()
            connection.execute(
                sa.text(
                    "INSERT INTO trial_values (trial_id, objective, value, value_type)"
                    " VALUES (:trial, 0, :value, 'FINITE')"
                ),
                {"trial": trial_id, "value": best.score},
            )
    study = world.shown()
    (shown,) = study["best_trials"]
    assert best.score is not None
    assert (shown["number"], shown["values"]) == (best.number, [round(best.score, 4)])
    assert study["trials"][best.number]["values"] == [best.score]  # only the large one is rounded


def test_the_search_shows_its_winner(tmp_path: Path) -> None:
    """At a search's end the study has the winner's diagram, picture and code, and the finalists."""
    words = arguments(tmp_path, workers=0, finalists=1, final_seeds=2)
    found = result(nas_here("search", *words, "--json"))
    with served(f"sqlite:///{tmp_path}/nas.db") as address:
        study = page(address, "/api/studies/1")
        files = {one["filename"]: one["artifact_id"] for one in study["artifacts"]}
        assert fetch(address, f"/artifacts/1/{files['winner.png']}").startswith(b"\x89PNG")
        assert b"class Network" in fetch(address, f"/artifacts/1/{files['model.py']}")
    number = found["best"]["trial"]
    assert study["best_trials"][0]["number"] == number
    assert f"**Best:** trial {number}" in study["note"]["body"]
    assert "tiny/best/model.py" in study["note"]["body"]
    assert "looked at 1x" in study["note"]["body"]
    finalists = study["note"]["body"].partition("**Finalists, trained in full:**\n\n")[2]
    head, _, row = finalists.splitlines()[:3]
    assert head == "| trial | FLOPs | seeds | accuracy | interval | score | standing |"
    assert row.startswith(f"| {number} | ")
    assert row.endswith(" | winner, most accurate, knee |")
    assert "validation_small" in study["note"]["body"]
    assert len(diagrams(study["best_trials"][0])) == 1
    assert all("### Trial" in trial["note"]["body"] for trial in study["trials"])


def test_a_search_can_do_without(tmp_path: Path) -> None:
    """--no-showcase leaves the dashboard what Optuna itself shows, and writes no file."""
    result(nas_here("search", *arguments(tmp_path, workers=0), "--no-showcase", "--json"))
    with served(f"sqlite:///{tmp_path}/nas.db") as address:
        study = page(address, "/api/studies/1")
    assert {trial["note"]["body"] for trial in study["trials"]} == {""}
    assert not (tmp_path / "studies" / "artifacts").exists()


def test_a_kill_leaves_nothing_broken(tmp_path: Path) -> None:
    """A search whose processes are killed while a trial is shown goes on, and shows every trial."""
    words = command("search", *arguments(tmp_path, epochs=12, images=240))
    search_ = subprocess.Popen(words, stderr=subprocess.DEVNULL, start_new_session=True)
    engine = sa.create_engine(f"sqlite:///{tmp_path}/nas.db")
    running_ = sa.text("SELECT count(*) FROM nas_curve_points")
    for _ in range(240):
        time.sleep(0.25)
        try:
            with engine.connect() as connection:
                if connection.execute(running_).scalar_one() > 2:
                    break
        except sa.exc.OperationalError:  # not made yet
            continue
    os.killpg(search_.pid, signal.SIGKILL)
    search_.wait(60)
    engine.dispose()
    words = arguments(tmp_path, epochs=12, images=240, workers=0)
    found = result(nas_here("search", *words, "--json"))
    with served(f"sqlite:///{tmp_path}/nas.db") as address:
        study = page(address, "/api/studies/1")
    assert {trial["state"] for trial in study["trials"]} == {"Complete"}
    assert all("Trial" in trial["note"]["body"] for trial in study["trials"])
    assert study["best_trials"][0]["number"] == found["best"]["trial"]


def test_other_sites_and_files_can_do_nothing(one: World) -> None:
    """A foreign name and another site's page are refused; a file is a download without scripts."""
    lease = one.begin()
    one.train(lease, seconds=60)
    one.tell(lease)
    with served(one.store.url.render_as_string(hide_password=False)) as address:
        assert b"bundle.js" in fetch(address, "/dashboard")
        for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
            delete = urllib.request.Request(
                f"{address}/api/studies/1", headers=headers, method="DELETE"
            )
            with pytest.raises(urllib.error.HTTPError, match="403") as refused:
                urllib.request.urlopen(delete, timeout=60)
            refused.value.close()
        (trial,) = page(address, "/api/studies/1")["trials"]
        path = f"/artifacts/1/{trial['trial_id']}/{diagrams(trial)[0]}"
        with urllib.request.urlopen(address + path, timeout=60) as answer:
            sent = answer.headers
            assert answer.read().startswith(b"\x89PNG")
    assert sent.get_all("Content-Disposition") == ["attachment"]
    assert sent["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert sent["Access-Control-Allow-Origin"] is None


def test_no_password_is_seen(tmp_path: Path) -> None:
    """A store's password is on no command line, on no page, and in nothing that is stored."""
    with ready("postgresql", tmp_path) as url:
        secret = url.replace("postgres@", f"postgres:{PASSWORD}@")
        assert secret != url
        with opened(secret, tmp_path) as made:
            lease = made.begin()
            made.train(lease, seconds=60)
            made.tell(lease)
            showcase.show_study(made.store, made.prepared.config, "tiny")
            folder = made.prepared.config.artifacts
        words = command("dashboard", "--port", "0", "--store", secret)
        with running(*words) as process:
            assert process.stdout is not None
            said = read_until(process.stdout.fileno(), "\n")
            seen = Path(f"/proc/{process.pid}/cmdline").read_text()
            address = re.search(r"http://\S+[0-9]", said)
            assert address
            paths = ("/api/meta", "/api/studies", "/api/studies/1", "/dashboard", "/csv/1")
            pages = [fetch(address[0], path).decode() for path in paths]
        assert process.returncode == 0
        files = [path.read_bytes().decode(errors="replace") for path in folder.iterdir()]
    assert "dashboard" in seen
    assert [one for one in (said, seen, *pages, *files) if PASSWORD in one] == []


def test_a_busy_port_is_told(one: World) -> None:
    """A port that another program has is a user's mistake, told in one line."""
    url = one.store.url.render_as_string(hide_password=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = nas("dashboard", "--store", url, "--port", str(port))
    assert ended.returncode == 2
    assert ended.stderr == f"nas: Port {port} of 127.0.0.1 is taken; give another with --port.\n"


def test_mistakes_are_told(one: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address, a folder, a store or a package that is not there: the rule and the value."""
    url = one.store.url.render_as_string(hide_password=False)
    with pytest.raises(UserError, match=r"0 \(any that is free\) to 65535, not 70000"):
        dashboard.serve(url, port=70000)
    with pytest.raises(UserError, match=r"an address of this machine, not '203\.0\.113\.1'"):
        dashboard.serve(url, host="203.0.113.1", port=0)
    with pytest.raises(UserError, match="--artifacts is a folder, not"):
        dashboard.serve(url, artifacts=str(tmp_path / "nowhere"))
    with pytest.raises(StoreError, match="there is no such file"):
        dashboard.serve(f"sqlite:///{tmp_path}/none.db")
    monkeypatch.setitem(sys.modules, "optuna_dashboard._app", None)
    with pytest.raises(UserError, match=re.escape("pip install 'nas[dashboard]'")):
        dashboard.serve(url)


def test_the_note_of_a_trial_is_written_in_place(one: World) -> None:
    """A trial's note takes two rows, however often it is written."""
    lease = one.begin()
    for _ in range(3):
        shown.show_trial(one.store, 1, lease, "text")
    with one.store.read() as connection:
        kept = sa.text("SELECT key FROM study_system_attributes WHERE key LIKE 'dashboard:_:%'")
        keys = connection.execute(kept).scalars().all()
        best = queries.best(connection, 1, 1)
    assert len(keys) == 2
    assert best == []


def test_large_studies_are_shown_with_less(one: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Late trials have their code as a file alone, and later ones no note; all have a diagram."""
    monkeypatch.setattr(showcase, "CODED", 1)
    monkeypatch.setattr(showcase, "NOTED", 2)
    for seed in range(3):
        lease = one.begin(seed)
        one.train(lease, seconds=60)
        one.tell(lease)
    first, second, third = one.shown()["trials"]
    assert "class Network" in first["note"]["body"]
    assert "class Network" not in second["note"]["body"]
    assert "**score**" in second["note"]["body"]
    assert third["note"]["body"] == ""
    assert [len(trial["artifacts"]) for trial in (first, second, third)] == [2, 2, 2]
