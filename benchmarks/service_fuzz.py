"""A thousand malformed bodies and a thousand malformed uploads at a real server.

    python -m benchmarks.service_fuzz [--bodies 1000] [--uploads 1000] [--seed 0]

Starts `nas serve` on an empty store and sends what nobody would: JSON that is none, values and
names of options that no search has, files that are cut, changed, bombs or of another kind. Each
must be refused with 4xx (a body may by chance be a search that is valid: 201), the server's memory
may grow by 100 MiB, and afterwards nothing of them lies on the disk. Prints one JSON object and
writes it to benchmarks/results/service_fuzz.json; ends with status 1 where that does not hold. An
upload is checked in a process of its own, for a second: the whole takes a quarter of an hour.

`tests/test_service_fuzz.py` sends the first of them.
"""

import argparse
import io
import json
import os
import resource
import sys
import tarfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import httpx
import numpy as np

from benchmarks.overhead import machine
from benchmarks.service_load import Served, served
from nas.service.api import submission
from nas.service.client import ROOT
from nas.study import options

RESULT = Path(__file__).parent / "results" / "service_fuzz.json"
SEARCH: dict[str, Any] = {"target_flops": "500k", "trials": 2, "epochs": 1, "finalists": 0}
NASTY: list[Any] = [
    None, True, -1, 0, 2**63, 10**29, 1e308, -0.0, "", "0", "\0", "\ud800", "../..", "/etc/passwd",
    "a" * 5000, "é" * 300, "mixconv\n", "{{7*7}}", "'; DROP TABLE nas_tokens; --", "__class__",
    [], [[]], [None], {}, {"": {}}, {"a": {"b": [1, {"c": None}]}}, "s3://bucket", "file:///etc",
    "tones.npz", "upload:", "training.epochs=0", {"training": {"epochs": 0}}, "1e9M", "NaN", "~",
]  # fmt: skip
PATHS = ("/searches", "/cost", "/preflight")
FAULTS = (b"\xff", b"{", b"[" * 3000, b'"', b"\0", b",", b"NaN", b"1e999", b"}", b"\xed\xa0\x80")
KINDS = ("x.npz", "x.zip", "x.tar", "x.tar.gz", "x.csv", "x.parquet")
GROWTH = 100 * 2**20  # bytes of memory that a server may have more afterwards


class MalformedBody(NamedTuple):
    """A body that no route can take, or one that by chance is a valid search."""

    path: str
    content: bytes
    kind: str = "application/json"
    is_json: bool = True


def bodies(count: int, seed: int = 0) -> Iterator[MalformedBody]:
    """Yield searches with values and names that nobody gives, and texts that are no JSON."""
    random = Random(seed)
    names = [*submission.schema()["properties"], *options.servers(), "", "é", "~0/~1", "x" * 999]
    for number in range(count):
        changes = {random.choice(names): random.choice(NASTY) for _ in range(random.randint(1, 3))}
        text = json.dumps(SEARCH | changes).encode()
        if number % 4:
            yield MalformedBody("/searches", text)
            continue
        at, path = random.randrange(1, len(text)), random.choice(PATHS)
        broken = text[:at] + random.choice(FAULTS) + (text[at:] if random.random() < 0.5 else b"")
        kind = random.choice(("application/json", "application/json", "text/plain", ""))
        yield MalformedBody(path, broken, kind, is_json=False)


def uploads(good: bytes, count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of files that are no data: bombs, cut, changed, of another kind."""
    random = Random(seed)
    first = [(name, bomb) for bomb in (_zip_bomb(), _tar_bomb()) for name in KINDS[:4]]
    first += [(name, b"") for name in KINDS]
    yield from first[:count]
    for number in range(count - len(first)):
        content = bytearray(good[: random.randrange(1, len(good))] if number % 2 else good)
        for _ in range(random.choice((20, 200))):
            content[random.randrange(len(content))] = random.randrange(256)
        content = content if number % 3 else bytearray(random.randbytes(random.randrange(9000)))
        yield KINDS[number % len(KINDS)], bytes(content)


def _zip_bomb() -> bytes:
    """Return an archive whose members lead out of it, and unpack to a thousand times their size."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/../../../x.png", b"x")
        archive.writestr("a/b.png", bytes(2**24))
    return made.getvalue()


def _tar_bomb() -> bytes:
    """Return an archive with a link out of it and a file through that link."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        link = tarfile.TarInfo("a")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(link)
        file = tarfile.TarInfo("a/passwd.png")
        file.size = 2**22
        archive.addfile(file, io.BytesIO(bytes(2**22)))
    return made.getvalue()


def send_bodies(client: httpx.Client, sent: Iterator[MalformedBody]) -> Counter[int]:
    """Send bodies; return the answers by status. Fails where one is not refused as it must be."""
    statuses: Counter[int] = Counter()
    for path, content, kind, is_json in sent:
        headers = {"Content-Type": kind} if kind else {}
        answer = post(client, path, content=content, headers=headers)
        statuses[answer.status_code] += 1
        allowed = (201, 400, 422) if is_json else (400, 413, 415, 422)
        assert answer.status_code in allowed, (path, content[:500], answer.text)
        if answer.status_code == 422:
            assert all(each["pointer"] is not None for each in answer.json()["errors"])
    return statuses


def send_uploads(client: httpx.Client, sent: Iterator[tuple[str, bytes]]) -> Counter[int]:
    """Send files; return the answers by status. Fails where one is not refused."""
    statuses: Counter[int] = Counter()
    for name, content in sent:
        answer = post(
            client, "/uploads", params={"name": name}, content=content,
            headers={"Content-Type": "application/octet-stream"},
        )  # fmt: skip
        statuses[answer.status_code] += 1
        assert answer.status_code == 422, (name, content[:200], answer.text)
    return statuses


def client_of(server: Served) -> httpx.Client:
    """Return a client with the server's token."""
    headers = {"Authorization": f"Bearer {server.token}"}
    return httpx.Client(base_url=f"{server.client.url}{ROOT}", headers=headers, timeout=600)


def post(client: httpx.Client, path: str, **request: Any) -> httpx.Response:
    """Send a request, again where the server says that too many came or that it is busy."""
    while (answer := client.post(path, **request)).status_code in (429, 503):
        time.sleep(float(answer.headers["Retry-After"]))
    return answer


def resident(pid: int | str = "self") -> int:
    """Return the bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def small_data() -> bytes:
    """Return a small sound .npz file of images of two classes."""
    arrays: dict[str, Any] = {}
    for split, count in (("train", 96), ("val", 32), ("test", 32)):
        labels = np.arange(count) % 2
        arrays |= {f"{split}_labels": labels}
        arrays |= {f"{split}_images": np.full((count, 8, 8), 120, np.uint8) * labels[:, None, None]}
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def main() -> int:
    """Send all, print what came of it, write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bodies", type=int, default=1000)
    parser.add_argument("--uploads", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULT)
    asked = parser.parse_args()
    began = time.perf_counter()
    with (
        TemporaryDirectory() as folder,
        served(Path(folder), f"sqlite:///{folder}/nas.db", workers=0) as server,
        client_of(server) as client,
    ):
        send_bodies(client, bodies(10, asked.seed + 1))  # so that all is imported
        before = resident(server.pid)
        of_bodies = send_bodies(client, bodies(asked.bodies, asked.seed))
        of_uploads = send_uploads(client, uploads(small_data(), asked.uploads, asked.seed))
        growth = resident(server.pid) - before
        left = [each.name for each in Path(folder, "studies/service/uploads").iterdir()]
    result = {
        "seed": asked.seed, "bodies": dict(of_bodies), "uploads": dict(of_uploads),
        "server_grew_mib": round(growth / 2**20, 1), "files_left": left,
        "largest_process_mib": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
        "seconds": round(time.perf_counter() - began), "machine": machine(),
    }  # fmt: skip
    print(json.dumps(result))
    asked.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if growth < GROWTH and not left else 1


if __name__ == "__main__":
    sys.exit(main())
