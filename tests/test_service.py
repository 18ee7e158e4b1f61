"""The HTTP API: who may do what, what is refused and how, what a search answers as it goes on."""

import io
import json
import re
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from service_kit import ROOT, SEARCH, Server, read_events, run_search, serving, submit, tiny
from store_kit import ready

from nas.commands import search as verbs
from nas.errors import NotStored, StoreAway, StoreError, UserError
from nas.service.api import events, service, submission
from nas.service.api.access import PUBLIC, Rate
from nas.service.api.app import api
from nas.service.api.events import Told
from nas.service.api.problems import problem_of
from nas.service.api.service import Recent
from nas.store import audit, queries, tokens
from nas.study import options

Routes = list[tuple[str, str]]
MET = {"search_id": "0123456789abcdef", "upload_id": "0123456789abcdef", "number": "0"}


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: Any, tmp_path: Path) -> Iterator[Server]:
    """Serve an empty store of either database."""
    with ready(request.param, tmp_path) as url, serving(url, tmp_path) as served:
        yield served


@pytest.fixture(scope="module")
def searched(
    server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[httpx.Client, str]]:
    """Submit a search, run it as a worker does, and return its owner's client and its id."""
    with server.client("read", "submit") as owner:
        out = tmp_path_factory.mktemp("studies")
        yield owner, run_search(server, owner, out, study="tones")


def routes(server: Server) -> Routes:
    """Return every method and path that the application documents, with made-up ids."""
    paths = api(server.service).openapi()["paths"]
    return [
        (method.upper(), re.sub(r"\{(\w+)\}", lambda name: MET.get(name[1], "python"), path))
        for path, methods in paths.items()
        for method in methods
    ]


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Hold that an answer is problem details of this status, and return them."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    details: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail"} <= set(details)
    assert details["status"] == status
    assert "Traceback" not in answer.text
    return details


def test_only_health_answers_without_a_token(server: Server) -> None:
    """Every route, known or not, is 401 without a token, with a wrong one, in another scheme."""
    table = routes(server)
    assert len(table) > 25
    nowhere = [("GET", "/"), ("GET", "/docs"), ("POST", f"{ROOT}/nothing"), ("PUT", "/api")]
    wrong = [
        {}, {"Authorization": "Bearer nas_0123456789abcdef_secret"}, {"Authorization": "Bearer"},
        {"Authorization": "Basic bmFzOm5hcw=="}, {"Authorization": "Bearer " + "x" * 5000},
    ]  # fmt: skip
    with httpx.Client(base_url=server.base) as client:
        for method, path in [*table, *nowhere, ("POST", PUBLIC[0]), ("GET", PUBLIC[0] + "/")]:
            for headers in wrong:
                answer = client.request(method, path, headers=headers)
                if method == "GET" and path in PUBLIC:
                    assert answer.status_code == 200, path
                else:
                    problem(answer, 401)
                    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_scope_is_needed(server: Server) -> None:
    """A token that may read changes nothing; numbers and the audit are for admins."""
    with server.client("read") as reader, server.client("submit") as submitter:
        for method, path in routes(server):
            path = path.removeprefix(ROOT)
            changes = method != "GET" and path not in ("/cost", "/preflight")
            if changes or path in ("/metrics", "/audit"):
                answer = reader.request(method, path, json={})
                assert "scope" in problem(answer, 403)["detail"], path
        problem(submitter.get("/searches"), 403)


def test_another_owners_search_is_not_there(
    server: Server, searched: tuple[httpx.Client, str]
) -> None:
    """Every route of a search that is there is 404 for another token, and lists leave it out."""
    owner, found = searched
    with server.client("read", "submit") as other, server.client("admin") as admin:
        for method, path in routes(server):
            if "/searches/" in path:
                here = path.removeprefix(ROOT).replace(MET["search_id"], found)
                assert f"{found}" in here
                given = {"target_flops": "50k"} if here.endswith("rescore") else {}
                answer = other.request(method, here, params=given)
                assert found in problem(answer, 404)["detail"], path
        assert other.get("/searches").json()["items"] == []
        problem(other.get("/searches", params={"after": found}), 404)
        assert found in [each["id"] for each in admin.get("/searches").json()["items"]]
        assert owner.get(f"/searches/{found}").json()["state"] == "succeeded"


def test_a_search_is_submitted_once_with_a_key(either: Server) -> None:
    """201 with its address, 200 with the same search for the same key, 409 for another search."""
    with either.client("read", "submit") as client:
        key = {"Idempotency-Key": "one"}
        first = client.post("/searches", json=SEARCH, headers=key)
        assert first.status_code == 201
        again = client.post("/searches", json=SEARCH, headers=key)
        assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
        assert first.headers["Location"] == f"{ROOT}/searches/{first.json()['id']}"
        shown = httpx.get(either.base + first.headers["Location"], headers=client.headers).json()
        assert shown["state"] == "queued"
        assert shown["options"] == SEARCH
        problem(client.post("/searches", json=SEARCH | {"seed": 1}, headers=key), 409)
        with either.store.read() as connection:
            outcomes = [(each["action"], each["outcome"]) for each in entries(connection)]
        assert outcomes == [("submit", "Conflict"), ("submit", "done"), ("submit", "done")]


def entries(connection: Any) -> Any:
    """Return the newest audit records."""
    return audit.entries(connection, limit=10)


def test_a_search_is_paused_resumed_cancelled_and_deleted(either: Server) -> None:
    """Each wish answers with the state; one that the state does not allow is 409."""
    with either.client("read", "submit") as client:
        path = f"/searches/{submit(client)}"
        for wish, state in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
            answer = client.post(f"{path}/{wish}")
            assert answer.json()["state"] == client.get(path).json()["state"] == state
        assert "cancelled" in problem(client.post(f"{path}/resume"), 409)["detail"]
        assert client.delete(path).status_code == 204
        problem(client.get(path), 404)


def test_searches_are_listed_page_by_page(either: Server) -> None:
    """Pages follow each other by their links, the newest first; each search is there once."""
    with either.client("read", "submit") as client:
        made = [submit(client, seed=seed) for seed in range(5)]
        seen, url = [], f"{ROOT}/searches?limit=2"
        while url:
            answer = httpx.get(either.base + url, headers=client.headers)
            seen += [each["id"] for each in answer.json()["items"]]
            url = answer.json()["next"]
            assert (f'<{url}>; rel="next"' == answer.headers.get("Link")) == (url is not None)
        assert seen == made[::-1]
        assert client.get("/searches", params={"state": "running"}).json()["items"] == []
        client.post(f"/searches/{made[0]}/pause")
        both = client.get("/searches?state=queued&state=paused&limit=4").json()["next"]
        last = httpx.get(either.base + both, headers=client.headers).json()["items"]
        assert [each["id"] for each in last] == made[:1]
        for wrong in ("runing", "\0"):
            told = problem(client.get("/searches", params={"state": wrong}), 422)
            assert "queued" in told["detail"]


def test_the_schema_of_a_submission_is_the_options_declaration() -> None:
    """Each option of nas search is in the schema or is the server's, with limits and choices."""
    properties = submission.schema()["properties"]
    declared = options.declared()
    assert set(properties) - {"priority"} == set(declared) - submission.servers()
    machines = {
        "address",
        "cpus_per_trial",
        "executor",
        "gpus_per_trial",
        "max_concurrent",
        "workers",
    }
    places = {"checkpoints", "latency_host", "latency_table", "out", "start_from", "store", "track"}
    assert machines | places | {"showcase"} <= submission.servers()
    assert properties["sampler"]["anyOf"][0]["enum"] == list(declared["sampler"].names())
    seed = {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}
    assert properties["seed"]["anyOf"][0] == seed
    assert all(declared[name].help in each["description"] for name, each in properties.items()
               if name in declared)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "at"),
    [
        ({"trials": -2}, "/trials"), ({"trials": "2"}, "/trials"), ({"w": True}, "/w"),
        ({"target_flops": "many"}, "/target_flops"), ({"sampler": "guess"}, "/sampler"),
        ({"seed": 2**40}, "/seed"), ({"study": "a/b"}, "/study"), ({"forbid": [1]}, "/forbid"),
        ({"set": ["x"]}, "/set"), ({"target_flops": None}, ""),
        ({"fidelity": "epochs"}, "/fidelity"),
        ({"features": ["naswot"], "sampler": "tpe"}, "/features"),
        ({"include": ["a"]}, "/include"),
    ],
)  # fmt: skip
def test_the_same_words_refuse_as_on_the_command_line(
    server: Server, changes: dict[str, Any], at: str
) -> None:
    """A value that nas.search refuses is refused with its message, and a pointer to the fault."""
    given = {k: v for k, v in (SEARCH | changes).items() if v is not None}
    with pytest.raises(UserError) as told:
        verbs.search(**given)
    with server.client("submit") as client:
        details = problem(client.post("/searches", json=SEARCH | changes), 422)
    (fault,) = details["errors"]
    assert (fault["detail"], fault["pointer"]) == (str(told.value), at)


def test_every_fault_is_told_with_the_valid_options(server: Server) -> None:
    """Unknown names come with the nearest, choices with all; the server's options are refused."""
    given = {"target_flop": 1, "pruner": "none!", "store": "sqlite:///x.db", "out": "/tmp", "~/": 1}
    with server.client("submit") as client:
        details = problem(client.post("/searches", json=SEARCH | given), 422)
    faults = {each["pointer"]: each for each in details["errors"]}
    assert set(faults) == {"/target_flop", "/pruner", "/store", "/out", "/~0~1"}
    assert "Did you mean 'target_flops'" in faults["/target_flop"]["detail"]
    assert "none" in faults["/pruner"]["options"]
    assert "where the server is started" in faults["/store"]["detail"]


def test_thousands_of_faults_are_not_looked_for(server: Server) -> None:
    """A body of wrong names alone is refused after the first twenty."""
    with server.client("submit") as client:
        body = {f"option{number}": 1 for number in range(30_000)}
        details = problem(client.post("/searches", json=body), 422)
    assert len(details["errors"]) == 20


@pytest.mark.parametrize(
    "changes",
    [
        {"space": "tiny.py"}, {"space": "/etc/hosts.json"}, {"space": ["mixconv"]}, {"space": {}},
        {"recipe": "mine.toml"}, {"recipe": ["short"]}, {"recipe": {"training": {"epochz": 1}}},
        {"data": "/etc"}, {"data": "../nas.db"}, {"data": "https://example.org/x.npz"},
        {"data": ""},
        {"data": "~"}, {"data": "tones.npz\0"}, {"data": "x" * 5000}, {"data": "upload:../nas.db"},
        {"data": "upload:0123456789abcdef"}, {"latency_host": "user@host"}, {"track": ["mlflow"]},
        {"teacher": "another:0"}, {"start_from": "another:0"}, {"unlabelled": "/etc"},
        {"checkpoints": "s3://bucket"}, {"priority": 10**6}, {"priority": True},
    ],
    ids=str,
)  # fmt: skip
def test_nothing_of_a_request_is_opened(server: Server, changes: dict[str, Any]) -> None:
    """Paths outside of the data roots, Python, URLs and files of recipes are refused."""
    (server.service.folder.parent / "tiny.py").write_text("raise SystemExit('it was run')")
    with server.client("submit") as client:
        details = problem(client.post("/searches", json=SEARCH | changes), 422)
    (fault,) = details["errors"]
    assert fault["pointer"].startswith(f"/{next(iter(changes))}")


def test_data_outside_the_roots_is_as_if_it_were_not_there(server: Server, tmp_path: Path) -> None:
    """A path that exists elsewhere, through a link too, is refused like one that does not."""
    link = server.service.roots[0] / "link"
    link.symlink_to(tmp_path)
    (tmp_path / "there.npz").touch()
    with server.client("submit") as client:
        said = [
            problem(client.post("/searches", json=SEARCH | {"data": data}), 422)["detail"]
            for data in ("link/there.npz", "link/gone.npz", str(tmp_path / "there.npz"), "/gone")
        ]
    assert len({re.sub("'[^']*'", "", each) for each in said}) == 1, said
    assert submission.source("tones.npz", server.service.roots, Path).endswith("data/tones.npz")


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "application/json", 400), (b"{", "application/json", 400),
        (b'{"a": 1, "a": 2}', "application/json", 400), (b"\xff", "application/json", 400),
        (b"[" * 100_000, "application/json", 400), (b"[1]", "application/json", 422),
        (b"1" * 5000, "application/json", 400), (b"{}", "text/plain", 415), (b"{}", "", 415),
        (b'"' + b"x" * 2**20 + b'"', "application/json", 413), (b"null", "application/json", 422),
        (b'{"seed": NaN}', "application/json", 422), (b'{"w": 1e999}', "application/json", 422),
        (b'{"a": "\\ud800"}', "application/json", 400),
    ],
    ids=lambda value: repr(value)[:30],
)  # fmt: skip
def test_a_malformed_body_is_refused(server: Server, body: bytes, kind: str, status: int) -> None:
    """What is no JSON of an object within the limits is 4xx on every route with a body."""
    headers = {"Content-Type": kind} if kind else {}
    with server.client("read", "submit") as client:
        for path in ("/searches", "/cost", "/preflight"):
            problem(client.post(path, content=body, headers=headers), status)


def test_a_parameter_that_is_none_is_refused(server: Server) -> None:
    """A misspelt parameter is told; it is not ignored."""
    with server.client("read") as client:
        details = problem(client.get("/searches", params={"limits": 3}), 422)
        assert details["errors"][0]["parameter"] == "limits"
        assert "'limit'" in details["detail"]
        problem(client.get("/searches", params={"limit": 0}), 422)


def test_an_answer_is_sent_once(server: Server) -> None:
    """With the ETag of an answer the same request is 304, without a body, until it changes."""
    with server.client("read", "submit") as client:
        path = f"/searches/{submit(client)}"
        tag = client.get(path).headers["ETag"]
        again = client.get(path, headers={"If-None-Match": f'"x", W/{tag}'})
        assert (again.status_code, again.content) == (304, b"")
        client.post(f"{path}/cancel")
        assert client.get(path, headers={"If-None-Match": tag}).status_code == 200


def test_answers_forbid_the_browser_what_they_do_not_need(server: Server) -> None:
    """Every answer has the guard's headers; a foreign Host or Origin is refused."""
    with httpx.Client(base_url=server.base) as client:
        for path in ("/openapi.json", f"{ROOT}/searches"):
            headers = client.get(path).headers
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Content-Security-Policy"].startswith("default-src 'self'")
            assert "access-control-allow-origin" not in headers
        assert client.get(PUBLIC[0], headers={"Host": "evil.example"}).status_code == 403
        assert client.get(PUBLIC[0], headers={"Origin": "https://evil.example"}).status_code == 403


def test_a_token_has_a_rate(tmp_path: Path) -> None:
    """Beyond its burst a token is told when to ask again; others are not."""
    rate = Rate(per_second=0.01, burst=3)
    with (
        ready("sqlite", tmp_path) as url,
        serving(url, tmp_path, rate=rate) as server,
        server.client("read") as first,
        server.client("read") as second,
    ):
        assert [first.get("/version").status_code for _ in range(4)] == [200, 200, 200, 429]
        assert int(first.get("/version").headers["Retry-After"]) >= 1
        assert second.get("/version").status_code == 200


def test_a_token_that_was_revoked_opens_nothing(server: Server) -> None:
    """The next request after a revocation is 401."""
    with server.client("read") as client:
        token = client.get("/token").json()
        assert "digest" not in token
        with server.store.write() as connection:
            tokens.revoke(connection, token["id"])
        problem(client.get("/token"), 401)


def test_what_many_ask_for_is_read_once_in_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each search by itself, a second from the end of the read on; a failure is not kept."""
    now, reads, recent = [100.0], iter(range(10)), Recent()
    monkeypatch.setattr(service, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def slowly() -> int:
        now[0] += 5 * service.FRESH
        return next(reads)

    assert [recent.of(each, slowly) for each in "aaa"] == [0, 0, 0]
    assert [recent.of(each, lambda: next(reads)) for each in "babab"] == [1, 0, 1, 0, 1]
    recent.keep("a", "seen")
    assert recent.of("a", lambda: next(reads)) == "seen"
    now[0] += service.FRESH
    with pytest.raises(ZeroDivisionError):
        recent.of("a", lambda: 1 / 0)
    assert recent.of("a", lambda: next(reads)) == 2


def test_results_are_those_of_the_verbs(searched: tuple[httpx.Client, str]) -> None:
    """Progress, trials, top, front, rescore, winner, curve and logs of a search that ended."""
    client, found = searched
    at = f"/searches/{found}"

    def get(path: str) -> Any:
        answer = client.get(f"{at}{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    assert get("")["title"] == "tones"
    assert get("/progress")["trials"]["complete"] == 2
    first = get("/trials?limit=1")
    assert [each["number"] for each in first["items"]] == [0]
    rest = httpx.get(str(client.base_url).partition("/api")[0] + first["next"],
                     headers=client.headers).json()  # fmt: skip
    assert ([each["number"] for each in rest["items"]], rest["next"]) == ([1], None)
    architecture = get("/trials/0/architecture")
    assert get("/trials/0")["architecture"] == architecture
    counted = client.post("/cost", json={"network": architecture}).json()
    assert counted["macs"] == first["items"][0]["macs"]
    assert len(get("/trials/0/curve")) == 1
    best = get("/top?n=1")[0]
    assert get("/winner")["best"]["trial"] == best["number"]
    assert best["number"] in [each["number"] for each in get("/front")["front"]]
    assert get("/rescore?target_flops=1M&n=2")["objective"]["target_flops"] == 10**6
    assert {event["event"] for event in get("/logs")} >= {"started", "epoch"}
    assert client.get(f"{at}/trials/0/diagram").text.startswith("<svg")
    problem(client.get(f"{at}/trials/7"), 404)


def test_the_winner_is_downloaded(searched: tuple[httpx.Client, str], tmp_path: Path) -> None:
    """Report, code, weights and an archive; the second time from where they were built."""
    client, found = searched
    at = f"/searches/{found}"
    report = client.get(f"{at}/report")
    assert report.text.startswith("<!doctype html>")
    assert report.headers["Content-Disposition"].startswith("attachment")
    tag = {"If-None-Match": report.headers["ETag"]}
    assert client.get(f"{at}/report", headers=tag).status_code == 304
    archive = client.get(f"{at}/exports/python")
    assert archive.status_code == 200, archive.text
    files = zipfile.ZipFile(io.BytesIO(archive.content))
    assert sorted(files.namelist()) == ["model.py", "model.safetensors"]
    assert files.read("model.py") == client.get(f"{at}/code").content
    assert files.read("model.safetensors") == client.get(f"{at}/weights").content
    problem(client.get(f"{at}/exports/pickle"), 404)


def test_events_go_on_where_a_client_lost_them(searched: tuple[httpx.Client, str]) -> None:
    """A stream has the state, each trial once and the end; with an id, what came after it."""
    client, found = searched
    path = f"/searches/{found}/events"
    whole = read_events(client, path, until="end")
    assert [kind for _, kind, _ in whole] == ["state", "trial", "trial", "progress", "end"]
    first = next(name for name, kind, _ in whole if kind == "trial")
    later = read_events(client, path, last=first, until="end")
    assert [data["number"] for _, kind, data in later if kind == "trial"] == [1]
    assert client.get(path, headers={"Last-Event-ID": whole[-1][0]}).status_code == 204
    assert [kind for _, kind, _ in read_events(client, path, "x" * 99, until="trial")][
        -1
    ] == "trial"


def test_a_stream_hears_of_a_change(server: Server) -> None:
    """A client that watches is told of a new state without asking again."""
    with server.client("read", "submit") as client, server.client("admin") as admin:
        found = submit(client)
        states = []
        with client.stream("GET", f"/searches/{found}/events") as answer:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    states.append(json.loads(line[6:])["state"])
                    admin.post(f"/searches/{found}/cancel")
        assert states == ["queued", "cancelled", "cancelled"]


def test_a_stream_ends_with_its_token(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that is revoked is told no more: its streams end within seconds."""
    monkeypatch.setattr(events, "PULSE", 0.1)
    with server.client("read", "submit") as client:
        found, token = submit(client), client.get("/token").json()["id"]
        with client.stream("GET", f"/searches/{found}/events") as answer:
            lines = answer.iter_lines()
            assert "event: state" in (next(lines), next(lines), next(lines), next(lines))
            with server.store.write() as connection:
                tokens.revoke(connection, token)
            assert [line for line in lines if line.startswith("event")] == []


def test_a_look_reads_no_trial_twice(
    server: Server, searched: tuple[httpx.Client, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a search that is watched, trials that ended are read once, and the looks are the same."""
    first = events.look(server.service, searched[1])
    asked: list[int] = []
    trials = queries.trials
    monkeypatch.setattr(
        queries, "trials", lambda *of, after=-1: asked.append(after) or trials(*of, after=after)
    )
    again = events.look(server.service, searched[1], first)
    assert (asked, first.settled) == ([1], 1)
    assert (again.ended, again.news) == (first.ended, first.news)
    assert [trial.number for trial in again.ended_after(0)] == [1]


def test_whoever_trained_it_before_is_not_told(
    server: Server, searched: tuple[httpx.Client, str], tmp_path: Path
) -> None:
    """A trial reused from another owner's search names it to admins alone; one's own is named."""
    with server.client("read", "submit") as other, server.client("admin") as admin:
        first, second = (run_search(server, other, tmp_path, study="again") for _ in range(2))

        def origins(client: httpx.Client, path: str) -> set[str]:
            found = json.dumps(client.get(f"/searches/{path}").json())
            return set(re.findall('"reused_from": "([^"]*)"', found))

        for path in ("trials", "top", "trials/0", "front", "progress", "rescore?target_flops=1M"):
            assert origins(other, f"{first}/{path}") <= {"another search"}, path
        told = read_events(other, f"/searches/{first}/events", until="end")
        assert searched[1] not in json.dumps([data for *_, data in told])
        named = origins(admin, f"{first}/trials")
        assert named
        assert named <= {f"{searched[1]}/0", f"{searched[1]}/1"}
        own = {each.partition("/")[0] for each in origins(other, f"{second}/trials")}
        assert own <= {"another search", first}


def test_an_events_id_names_the_trials_that_were_told() -> None:
    """Numbers come in any order; the id is short, and read back it is the same."""
    told = Told()
    for number in (0, 1, 4, 5, 3, 9):
        told = told.also(number)
    assert str(told) == "1+3-5+9"
    assert Told.read(str(told)) == told
    assert [number in told for number in (0, 2, 4, 6, 9)] == [True, False, True, False, True]
    assert Told.read("nonsense") == Told.read(None) == Told.read("1+0-999999999") == Told()


def test_an_upload_is_checked_and_searched(server: Server) -> None:
    """An .npz file is kept under its content; a search names it; another owner does not see it."""
    content = (server.service.roots[0] / "tones.npz").read_bytes()
    binary = {"Content-Type": "application/octet-stream"}
    with server.client("read", "submit") as client, server.client("read", "submit") as other:
        answer = client.post("/uploads?name=mine.npz", content=content, headers=binary)
        assert answer.status_code == 201, answer.text
        upload = answer.json()
        assert (upload["name"], upload["size"]) == ("mine.npz", len(content))
        data = {"data": f"upload:{upload['id']}"}
        found = client.get(f"/searches/{submit(client, **data)}").json()
        assert found["title"].endswith(f"-upload:{upload['id']}")
        problem(other.post("/searches", json=SEARCH | data), 422)
        problem(other.get(f"/uploads/{upload['id']}"), 404)
        problem(other.delete(f"/uploads/{upload['id']}"), 404)
        assert [each["id"] for each in client.get("/uploads").json()] == [upload["id"]]
        assert client.delete(f"/uploads/{upload['id']}").status_code == 204
        broken = client.post("/uploads?name=mine.npz", content=content[:999], headers=binary)
        problem(broken, 422)
    assert list((server.service.folder / "uploads").iterdir()) == []


@pytest.mark.parametrize("name", ["x.exe", "../x.txt", "x", ".", "x\0.npz", "x.npz\n"], ids=ascii)
def test_an_upload_says_how_it_is_read(server: Server, name: str) -> None:
    """A name without an ending of a data file's is refused before anything is read."""
    with server.client("submit") as client:
        answer = client.post(
            "/uploads", params={"name": name}, content=b"x",
            headers={"Content-Type": "application/octet-stream"},
        )  # fmt: skip
    problem(answer, 422)


def test_where_the_store_is_is_for_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever asks hears that it does not answer; the server's log has the rest."""
    for error, status in ((StoreAway("at db:5432"), 503), (StoreError("at db:5432"), 500)):
        told = problem_of(error)
        assert (told.status, told.detail) == (status, "The server's store does not answer.")
        assert "at db:5432" in caplog.text
        caplog.clear()
    assert problem_of(NotStored("No study 'x'.")).detail == "No study 'x'."


def test_a_preflight_is_that_of_the_space(server: Server) -> None:
    """The size, the cost range and the share near a target, of a name and of JSON."""
    with server.client("read") as client:
        told = client.post("/preflight", json={"space": "mixconv", "target_flops": "5M"}).json()
        assert 0 < told["near_target"] < 1
        own = client.post("/preflight", json={"space": tiny(), "resolution": 16}).json()
        assert own["parameters"] == 4
        problem(client.post("/preflight", json={"space": "tiny.py"}), 422)
        problem(client.post("/preflight", json={"space": tiny(), "resolution": 1.5}), 422)
        problem(client.post("/cost", json={"network": "/etc/passwd.json"}), 422)
        problem(client.post("/cost", json={"network": {"format": "nas.architecture/1"}}), 422)
        assert {"mixconv"} < {each["name"] for each in client.get("/spaces").json()}


def test_the_numbers_and_records_are_for_admins(server: Server) -> None:
    """Prometheus' text and the newest records of who did what."""
    with server.client("admin") as client:
        assert "nas_store_up 1.0" in client.get("/metrics").text
        submit(client)
        record = client.get("/audit?limit=1").json()[0]
        assert (record["action"], record["outcome"]) == ("submit", "done")
        assert client.get("/health", params={"ready": True}).json() == {"status": "ok"}


def test_an_unfinished_body_ends(server: Server) -> None:
    """A client that leaves in the middle of its body leaves nothing behind."""
    with server.client("submit") as client:
        text = client.headers["Authorization"]
    host, port = server.base.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall(
            f"POST {ROOT}/uploads?name=x.npz HTTP/1.1\r\nHost: {host}\r\nAuthorization: {text}\r\n"
            "Content-Type: application/octet-stream\r\nContent-Length: 9999\r\n\r\nsome".encode()
        )
    with server.client("read") as client:
        assert client.get("/version").status_code == 200
