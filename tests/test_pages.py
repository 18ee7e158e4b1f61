"""The service's pages: who sees them, what their forms change, what they show of a search."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from fastapi.openapi.utils import get_openapi
from service_kit import Server, run_search, serving, submit, tiny
from store_kit import ready

from nas.commands.space import space_preflight
from nas.quantities import short
from nas.search_space import SearchSpace
from nas.service.api import interactive, submission
from nas.service.api.events import Feeds
from nas.service.pages.app import pages
from nas.service.pages.multipart import FileForm
from nas.store import searches, tokens

HTML = {"Accept": "text/html,*/*"}
HOSTILE = "</title><script>alert(1)</script><img src=x onerror=alert(1)>"
MET = {"search_id": "0123456789abcdef", "number": "0", "name": "pages.js", "wish": "pause"}


class Elements(HTMLParser):
    """The start tags of a page with their attributes, and its texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, Mapping[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep a text."""
        self.words.append(data)

    def of(self, tag: str) -> list[Mapping[str, str | None]]:
        """Return the attributes of all elements of a kind."""
        return [attributes for name, attributes in self.tags if name == tag]

    def hidden(self, name: str) -> str:
        """Return the value of a form's hidden field."""
        return next(a["value"] or "" for a in self.of("input") if a.get("name") == name)


class Person:
    """Somebody with a browser, who has logged in with a new token of these scopes."""

    def __init__(self, server: Server, *scopes: str, owner: str | None = None) -> None:
        with server.store.write() as connection:
            _, self.text = tokens.create(connection, "person", scopes, owner=owner)
        self.client = httpx.Client(base_url=server.base, headers=HTML, timeout=60)
        self.api = httpx.Client(
            base_url=f"{server.base}/api/v1", headers={"Authorization": f"Bearer {self.text}"},
            timeout=60,
        )  # fmt: skip
        self.login = self.client.post("/login", data={"token": self.text})

    def get(self, path: str, status: int = 200) -> Elements:
        """Look at a page."""
        answer = self.client.get(path)
        assert answer.status_code == status, answer.text[-2000:]
        return Elements(answer.text)

    def post(self, path: str, **fields: str) -> httpx.Response:
        """Send a form with its page's token."""
        return self.client.post(path, data={"csrf": self.get("/").hidden("csrf"), **fields})

    def __enter__(self) -> "Person":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.api.close()


@pytest.fixture
def person(server: Server) -> Iterator[Person]:
    """Log in."""
    with Person(server, "read", "submit") as logged_in:
        yield logged_in


@pytest.fixture(scope="module")
def searched(
    server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Person, list[str]]]:
    """Run two searches of one person."""
    with Person(server, "read", "submit") as owner:
        titles = ("tones", HOSTILE.replace("/", ""))
        found = [
            run_search(server, owner.api, tmp_path_factory.mktemp("studies"), study=title, epochs=2)
            for title in titles
        ]
        yield owner, found


def routes(server: Server) -> list[tuple[str, str]]:
    """Return every method and path of the pages, with made-up ids."""
    app = pages(server.service, Feeds(server.service))
    paths = get_openapi(title="pages", version="1", routes=app.routes)["paths"]
    found = [
        (method.upper(), re.sub(r"\{(\w+)\}", lambda name: MET.get(name[1], "python"), path))
        for path, methods in paths.items()
        for method in methods
    ]
    assert len(found) > 15
    return found


def test_no_page_opens_without_a_token(server: Server) -> None:
    """Each page is 401 without a token: a browser gets the form that asks for it, no script."""
    with httpx.Client(base_url=server.base) as client:
        for cookies in ({}, {"nas_token": "nas_0123456789abcdef_secret"}, {"nas_token": "x" * 900}):
            client.cookies = httpx.Cookies(cookies)
            for method, path in [*routes(server), ("GET", "/"), ("GET", "/nothing")]:
                answer = client.request(method, path, headers=HTML)
                if (method, path) == ("POST", "/login"):
                    continue
                assert answer.status_code == 401, path
                found = Elements(answer.text)
                assert found.of("script") == []
                assert [a["type"] for a in found.of("input") if a["name"] == "token"] == [
                    "password"
                ]
                answer = client.request(method, path)
                assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_token_is_kept_out_of_reach_of_scripts_and_other_sites(server: Server) -> None:
    """The cookie is HttpOnly and SameSite=Strict, Secure behind TLS; a wrong token gets none."""
    with Person(server, "read") as person:
        cookie = person.login.headers["Set-Cookie"]
        assert person.login.status_code == 303
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
        assert "Secure" not in cookie
        secure = {"Origin": person.client.base_url.copy_with(scheme="https").__str__().strip("/")}
        behind = httpx.post(f"{server.base}/login", data={"token": person.text}, headers=secure)
        assert "Secure" in behind.headers["Set-Cookie"]
        assert person.text not in person.client.get("/").text
        assert person.post("/logout").status_code == 303
        assert person.client.get("/").status_code == 401
        wrong = person.client.post("/login", data={"token": person.text[:-1]})
        assert wrong.status_code == 401
        assert "Set-Cookie" not in wrong.headers
        assert "no valid token" in wrong.text


@pytest.mark.parametrize(
    ("asked", "goes"),
    [
        ("/new", "/new"), ("/?after=1", "/?after=1"), ("//evil.example", "/"), ("", "/"),
        ("https://evil.example", "/"), ("/\\evil.example", "/"), ("/a\r\nX: y", "/"),
    ],
)  # fmt: skip
def test_a_login_leads_to_our_own_pages(server: Server, asked: str, goes: str) -> None:
    """After the login one sees the page that was asked for, never another site's."""
    with Person(server, "read") as person:
        answer = person.client.post("/login", data={"token": person.text, "next": asked})
        assert answer.headers["Location"] == goes


def test_a_form_is_sent_by_our_own_page_alone(server: Server, person: Person) -> None:
    """Every change needs the token of one's own pages; another person's is no good."""
    found = submit(person.api)
    with Person(server, "read", "submit") as other:
        theirs = other.get("/").hidden("csrf")
        for method, path in routes(server):
            if method == "POST" and path not in ("/login", "/data"):
                path = path.replace(MET["search_id"], found)
                for fields in ({"x": "1"}, {"csrf": ""}, {"csrf": theirs}, {"csrf": "é"}):
                    answer = person.client.post(path, data=fields)
                    assert answer.status_code == 403, path
                    assert "earlier login" in answer.text
    assert person.api.get(f"/searches/{found}").json()["state"] == "queued"
    evil = {"Origin": "https://evil.example"}
    assert person.client.get("/", headers=evil).status_code == 403


def test_a_token_without_the_scope_changes_nothing(server: Server) -> None:
    """Who may only read sees no buttons, and a form sent all the same is refused."""
    with (
        Person(server, "read", "submit", owner="team") as owner,
        Person(server, "read", owner="team") as reader,
    ):
        found = submit(owner.api)
        page = reader.get(f"/searches/{found}")
        assert [a.get("action") for a in page.of("form")] == ["/logout"]
        assert "scope" in reader.post(f"/searches/{found}/cancel").text
        assert reader.post(f"/searches/{found}/cancel").status_code == 403


def test_another_owners_search_is_not_there(
    server: Server, searched: tuple[Person, list[str]], person: Person
) -> None:
    """Every page of a search is 404 for another person, and the list leaves it out."""
    _, (found, other) = searched
    token = person.get("/").hidden("csrf")
    for method, path in routes(server):
        if MET["search_id"] in path:
            here = path.replace(MET["search_id"], found)
            answer = person.client.request(
                method, here, data={"csrf": token} if method == "POST" else None
            )
            assert answer.status_code == 404, path
    assert found not in person.client.get("/").text
    assert person.client.get(f"/compare?search={found}&search={other}").status_code == 404


def test_a_search_is_paused_resumed_cancelled_and_deleted(person: Person) -> None:
    """The buttons of a page are those that its search's state allows, and they work."""
    found = submit(person.api, study="mine")
    path = f"/searches/{found}"
    for wish, state in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        forms = [a.get("action") for a in person.get(path).of("form")]
        assert f"{path}/{wish}" in forms
        assert person.post(f"{path}/{wish}").headers["Location"] == path
        assert person.api.get(path).json()["state"] == state
    assert person.post(f"{path}/pause").status_code == 409
    assert person.post(f"{path}/explode").status_code == 404
    assert person.post(f"{path}/delete").headers["Location"] == "/"
    assert person.client.get(path).status_code == 404


def test_the_form_has_the_options_of_a_submission(person: Person) -> None:
    """Each option that may be submitted has a labelled field; none of the server's has one."""
    page = person.get("/new")
    fields = [a for tag in ("input", "select", "textarea") for a in page.of(tag)]
    names = {a["name"] for a in fields if a.get("type") != "hidden"}
    assert names == {*submission.submittable(), "space_json"}
    labels = {a["for"] for a in page.of("label")}
    assert labels == names


def test_a_search_is_submitted_by_its_form_once(person: Person) -> None:
    """What is typed is the submission of the API; the form sent twice is one search."""
    form = {
        "study": "from a form", "data": "digits", "target_flops": "500k", "trials": "2",
        "epochs": "1", "finalists": "0", "w": "-0.5", "warm_start": "no",
        "set": "optimiser.learning_rate=3e-3\r\n training.batch_size=32 ",
        "key": person.get("/new").hidden("key"),
    }  # fmt: skip
    first, second = person.post("/new", **form), person.post("/new", **form)
    assert first.status_code == 303, first.text[-30_000:]
    assert first.headers["Location"] == second.headers["Location"]
    asked = person.api.get(first.headers["Location"]).json()
    assert asked["title"] == "from a form"
    assert asked["options"] == {
        "study": "from a form", "data": "digits", "target_flops": "500k", "trials": 2, "epochs": 1,
        "finalists": 0, "w": -0.5, "warm_start": False,
        "set": ["optimiser.learning_rate=3e-3", "training.batch_size=32"],
    }  # fmt: skip


def test_a_mistake_stands_beside_its_field(person: Person) -> None:
    """The form comes back with what was typed, each mistake at its field, in the API's words."""
    wrong = {"target_flops": "much", "trials": "0", "study": "mine", "data": HOSTILE}
    answer = person.post("/new", **wrong)
    assert answer.status_code == 422
    page = Elements(answer.text)
    invalid = {a["name"] for _, a in page.tags if a.get("aria-invalid") == "true"}
    assert invalid == {"target_flops", "trials", "data"}
    values = {a["name"]: a.get("value") for a in page.of("input")}
    assert wrong.items() <= values.items()
    told = person.api.post("/searches", json={"target_flops": "much"}).json()["detail"]
    assert told in "".join(page.words)
    assert "alert(1)" in "".join(page.words)
    assert [a for a in page.of("script") if "src" not in a] == []


def test_the_preflight_is_that_of_the_verb(person: Person) -> None:
    """While one types, and with a button, the form says what nas space show says."""
    fields = {"space": "mixconv", "target_flops": "2M", "data": "digits"}
    flight = space_preflight("mixconv", target_flops="2M").flight
    part, page = person.post("/new/preflight", **fields), person.post("/new", check="1", **fields)
    for text in (part.text, page.text):
        assert f"{short(flight.macs[0])} to {short(flight.macs[1])} FLOPs" in text
        assert f"{flight.size:.3g} assignments" in text
        assert f"{flight.near_target:.1%}" in text
        assert "at most 30 min" in text
    assert "<html" not in part.text
    mistake = person.post("/new/preflight", space="mixconv", target_flops="1")
    assert mistake.status_code == 200
    assert 'class="mistake"' in mistake.text


def test_the_preflight_of_a_space_of_one_s_own_has_a_process_and_a_limit(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what it says of a shipped one; one that takes longer than the limit is a mistake."""
    fields = {"space_json": json.dumps(tiny()), "data": "digits"}
    flight = space_preflight(SearchSpace.from_json(tiny())).flight
    part = person.post("/new/preflight", **fields)
    assert f"{short(flight.macs[0])} to {short(flight.macs[1])} FLOPs" in part.text
    monkeypatch.setattr(interactive, "PATIENCE", 0.01)
    late = person.post("/new/preflight", **fields)
    assert 'class="mistake"' in late.text


def test_a_page_of_a_search_shows_what_it_found(searched: tuple[Person, list[str]]) -> None:
    """Progress, best trials, the report's figures and downloads stand on it, and a trial's page."""
    owner, (found, _) = searched
    page = owner.get(f"/searches/{found}")
    text = " ".join(page.words)
    assert "2 of 2 trials begun" in text
    assert {"live", "state", "trade-off", "winner", "networks"} <= {
        a.get("id") for _, a in page.tags
    }
    links = {a.get("href") for a in page.of("a")}
    base = f"/searches/{found}"
    assert {f"{base}/report", f"{base}/code", f"{base}/weights", f"{base}/trials/0"} <= links
    trial = owner.get(f"{base}/trials/0")
    assert {"diagram", "chart"} <= {a.get("class") for a in trial.of("svg")}
    assert f"{base}/code?trial=0" in {a.get("href") for a in trial.of("a")}
    assert "trial 1" in " ".join(owner.get(f"{base}/trials?after=0").words)
    assert owner.client.get(f"{base}/trials/0/diagram").headers["Content-Type"] == "image/svg+xml"
    report = owner.client.get(f"{base}/report")
    assert report.headers["Content-Disposition"].startswith("attachment")
    with owner.client.stream("GET", f"{base}/events") as events:
        assert next(events.iter_lines()).startswith("retry")


def test_searches_are_compared(searched: tuple[Person, list[str]], person: Person) -> None:
    """The page has the winners with their differences; fewer than two are refused."""
    owner, ids = searched
    page = owner.get(f"/compare?search={ids[0]}&search={ids[1]}")
    text = " ".join(page.words)
    assert "differences are over tones" in text
    assert len(page.of("svg")) == 3
    assert owner.client.get(f"/compare?search={ids[0]}").status_code == 422
    waiting = submit(owner.api)
    answer = owner.client.get(f"/compare?search={ids[0]}&search={waiting}")
    assert answer.status_code == 409


def test_pages_are_sound_and_names_are_text(
    searched: tuple[Person, list[str]], server: Server
) -> None:
    """Each page has one heading, one main part, unique ids; no name becomes an element."""
    owner, (found, hostile) = searched
    base = f"/searches/{hostile}"
    compared = f"/compare?search={found}&search={hostile}"
    for path in ("/", "/new", "/data", base, f"{base}/trials", f"{base}/trials/0", compared):
        policy = owner.client.get(path).headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'self'; style-src")  # so of scripts our own alone
        page = owner.get(path)
        for tag in ("h1", "main", "title"):
            assert len(page.of(tag)) == 1, (path, tag)
        ids = Counter(a["id"] for _, a in page.tags if "id" in a)
        assert max(ids.values()) == 1, (path, ids.most_common(2))
        assert not [a for _, a in page.tags for name in a if name.startswith("on")]
        assert all(str(a["src"]).startswith("data:image/png") for a in page.of("img"))
        scripts = [a for a in page.of("script") if a.get("type") != "application/json"]
        assert [a["src"] for a in scripts] == ["/static/page.js", "/static/pages.js"], path
        assert page.of("html")[0]["lang"] == "en"
        inputs = [a for a in page.of("input") if a.get("type") != "hidden"]
        labelled = {a["for"] for a in page.of("label")}
        assert all(a.get("aria-label") or a.get("id") in labelled for a in inputs)


def test_the_pages_work_below_a_proxys_path(tmp_path: Path) -> None:
    """Behind a proxy's path every link, form and script is below it, and the cookie too."""
    with (
        ready("sqlite", tmp_path) as url,
        serving(url, tmp_path, root_path="/nas") as server,
        Person(server, "read", "submit") as person,
    ):
        assert "Path=/nas/" in person.login.headers["Set-Cookie"]
        assert person.login.headers["Location"] == "/nas/"
        person.client.headers["Cookie"] = f"nas_token={person.text}"  # the proxy takes /nas off
        page = person.get("/new")
        places = [a.get(name) for _, a in page.tags for name in ("src", "action")]
        places += [a.get("href") for a in page.of("a")]
        for place in filter(None, places):
            assert place.startswith(("/nas/", "#")), place


def test_a_problem_is_a_page(person: Person) -> None:
    """What is not there, and what is no valid request, is told on a page without a traceback."""
    for path, status in (("/searches/0123456789abcdef", 404), ("/nothing", 404), ("/?x=1", 422)):
        page = person.get(path, status)
        assert "Not possible" in page.words
        assert "Traceback" not in " ".join(page.words)
    assert person.client.post("/new", content=b"x" * 2_000_000).status_code == 415
    large = person.client.post("/new", data={"csrf": "x" * 2_000_000})
    assert large.status_code == 413


def sent(person: Person, name: str, content: bytes, **fields: str) -> httpx.Response:
    """Send a file as the form of the page of data does."""
    given = {"csrf": person.get("/data").hidden("csrf"), **fields}
    return person.client.post("/data", data=given, files={"file": (name, content)})


def test_data_are_sent_by_a_form(server: Server, person: Person) -> None:
    """A plain form with a file, and no script: it is listed, may be searched, and is deleted."""
    content = (server.service.roots[0] / "tones.npz").read_bytes()
    page = person.get("/data")
    (form,) = [a for a in page.of("form") if a.get("action") == "/data"]
    assert (form["method"], form["enctype"]) == ("post", "multipart/form-data")
    answer = sent(person, "my tones.npz", content)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/data")
    (upload,) = person.api.get("/uploads").json()
    assert (upload["name"], upload["size"]) == ("my tones.npz", len(content))
    words = person.get("/data").words
    assert {"my tones.npz", f"upload:{upload['id']}", "160", "2"} <= set(words)
    submit(person.api, data=f"upload:{upload['id']}")
    assert f"upload:{upload['id']}" in [a.get("value") for a in person.get("/new").of("option")]
    assert person.post(f"/data/{upload['id']}/delete").headers["Location"] == "/data"
    assert person.api.get("/uploads").json() == []


def test_a_file_that_is_no_data_is_told_beside_the_field(server: Server, person: Person) -> None:
    """The page comes back with the mistake; nothing of the file is left on the disk."""
    content = (server.service.roots[0] / "tones.npz").read_bytes()
    for name, part in (("x.exe", content), ("x.npz", content[:99]), ("x.npz", b""), ("", b"")):
        answer = sent(person, name, part)
        assert answer.status_code == (422 if name else 400), (name, answer.text[-600:])
        if name:
            page = Elements(answer.text)
            assert [a["name"] for _, a in page.tags if a.get("aria-invalid")] == ["file"]
    assert list((server.service.folder / "uploads").iterdir()) == []


@pytest.mark.parametrize("cut", [1, 7, 100, 4000])
def test_a_form_with_a_file_is_read_in_any_pieces(cut: int) -> None:
    """However its bytes come, in pieces that cut a boundary too, the file is the one sent."""
    content = b"--x\r\n--xy\r" * 400 + b"\r\n--xy"
    head = (
        '--xyz\r\nContent-Disposition: form-data; name="csrf"\r\n\r\nt\r\n--xyz\r\n'
        'Content-Disposition: form-data; name="file"; filename="a%22b.npz"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    body = head.encode() + content + b"\r\n--xyz--\r\n"

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), cut):
            yield body[start : start + cut]

    async def read() -> tuple[dict[str, str], str, bytes]:
        form = FileForm(pieces(), b"\r\n--xyz")
        while not form.name:
            await form._next_part()
        return form.fields, form.name, b"".join([part async for part in form.content()])

    assert asyncio.run(read()) == ({"csrf": "t"}, 'a"b.npz', content)


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("multipart/form-data", b"", 415), ("multipart/form-data; boundary=x", b"", 400),
        ("application/x-www-form-urlencoded", b"csrf=x", 415),
        ("multipart/form-data; boundary=x", b"--y\r\n", 400),
        ("multipart/form-data; boundary=x", b"--x\r\n" + b"a" * 40_000, 400),
        ("multipart/form-data; boundary=x", b'--x\r\nA: ; name="file"; filename="a.npz"\r\n\r\n',
         403),
        ("multipart/form-data; boundary=x", b'--x\r\nA: ; name="csrf"\r\n\r\nno\r\n--x\r\n'
         b'A: ; name="file"; filename="a.npz"\r\n\r\nx\r\n--x--', 403),
    ],
)  # fmt: skip
def test_a_form_that_is_none_is_refused(
    person: Person, kind: str, body: bytes, status: int
) -> None:
    """Malformed forms, and those of no page of ours, are 4xx and leave nothing."""
    answer = person.client.post("/data", content=body, headers={"Content-Type": kind})
    assert answer.status_code == status, answer.text[-500:]


def test_a_search_that_waits_has_a_page(server: Server, person: Person) -> None:
    """Before a worker has begun it the page says so; a browser without scripts looks again."""
    found = submit(person.api, study="waits")
    page = person.get(f"/searches/{found}")
    assert "queued" in page.words
    assert [a["content"] for a in page.of("meta") if a.get("http-equiv") == "refresh"] == ["10"]
    with server.store.write() as connection:
        searches.cancel(connection, found)
