"""Who is answered by a server of ours, and what its answers forbid the browser."""

import socket
from typing import Any

import pytest

from nas.service.guard import guarded

HERE = ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.8.8.8", "[::1]:8080", "localhost.:1"]
ELSEWHERE = [
    "", "evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example:80",
    "127.0.0.1@evil.example", "evil.example:8080:8080", "[::1", "x]", "127.0.0.1 evil",
    "2130706433", "0x7f000001", "lo\xefcalhost", "192.168.1.2:8080", "a" * 5000,
]  # fmt: skip


def ask(
    host: str, *, at: str = "127.0.0.1", names: tuple[str, ...] = (), path: str = "/", **more: str
) -> tuple[str, dict[str, str]]:
    """Return the status and the headers of an answer to a request with this Host."""
    said: list[Any] = []

    def app(_: Any, start: Any) -> list[bytes]:
        start("200 OK", [("Content-Security-Policy", "none"), ("access-control-allow-origin", "*")])
        return [b"secret"]

    environ = {"HTTP_HOST": host, "PATH_INFO": path} | more
    answer = guarded(app, at, names)(environ, lambda *words: said.append(words))
    (status, headers), *others = said
    assert others == []
    assert (b"".join(answer) == b"secret") == (status == "200 OK")
    assert len(b"".join(answer)) < 300
    assert len({name.lower() for name, _ in headers}) == len(headers)
    return status, dict(headers)


@pytest.mark.parametrize("host", [*HERE, *ELSEWHERE], ids=ascii)
def test_a_server_of_this_machine_answers_to_its_own_names(host: str) -> None:
    """Loopback addresses and localhost are answered; whatever else a name may look like is not."""
    status, headers = ask(host)
    assert status == ("200 OK" if host in HERE else "403 Forbidden")
    assert "script-src" not in headers["Content-Security-Policy"]
    assert headers["Content-Security-Policy"].startswith("default-src 'self'; style-src")
    assert "access-control-allow-origin" not in headers


def test_a_server_for_others_answers_to_addresses_and_given_names() -> None:
    """At 0.0.0.0 the machine's name and any address in numbers are its own; others are given."""
    for host in ("10.0.0.7:8080", "[fe80::1]:8080", socket.gethostname(), "localhost"):
        assert ask(host, at="0.0.0.0")[0] == "200 OK"
    for host in ("nas.example.org", "evil.example"):
        assert ask(host, at="0.0.0.0")[0] == "403 Forbidden"
    for at in ("0.0.0.0", "127.0.0.1"):
        assert ask("NAS.example.org:443", at=at, names=("nas.Example.org",))[0] == "200 OK"
    assert ask("my.host", at="my.host")[0] == "200 OK"


@pytest.mark.parametrize(
    ("origin", "is_answered"),
    [
        ("http://127.0.0.1:8080", True), ("http://localhost:3000", True),
        ("https://nas.example.org", True), ("https://evil.example", False), ("null", False),
        ("", False), ("file://", False), ("http://10.0.0.7", False), ("https://127.0.0.1.x", False),
    ],
)  # fmt: skip
def test_another_sites_page_is_refused(origin: str, is_answered: bool) -> None:
    """A page may send a request here without being able to read the answer: it is not done."""
    status, _ = ask("127.0.0.1:8080", names=("nas.example.org",), HTTP_ORIGIN=origin)
    assert (status == "200 OK") == is_answered


def test_a_file_runs_nothing_in_a_browser() -> None:
    """A file that a trial left is a download, and in a sandbox where it is opened all the same."""
    _, headers = ask("localhost", path="/artifacts/1/2/abc")
    assert headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert headers["Content-Disposition"] == "attachment"
    assert headers["X-Content-Type-Options"] == "nosniff"
