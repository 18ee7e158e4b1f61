"""Damaged input of every kind, given to the verbs that read it: exit 0 or 2, never a traceback.

    python -m benchmarks.fuzz [--count 10000] [--seed 0] [--kind KIND ...]

Each input is a good one with a few changes: bits, bytes, cuts, repeats and extreme numbers, in JSON
and in stores odd values as well. A failure is another exit code, an error that is none of ours, a
message over its limit, or more than ten seconds. `--seed` and the number of an input make it again.
Writes benchmarks/results/fuzz.json; status 1 where anything failed.
"""

import argparse
import csv
import io
import json
import os
import random
import resource
import signal
import sqlite3
import sys
import tarfile
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

from nas import data
from nas.data import archive, decoders
from nas.errors import LONGEST, NasError, UserError
from nas.search_space import load
from nas.study import options
from tests.search_kit import arguments, nas_here
from tests.test_data_formats import cifar, packed, shard
from tests.test_decoders import WRITERS, save_raw, slices

RESULT = Path(__file__).parent / "results" / "fuzz.json"
LIMIT = 10.0  # seconds
OTHERS = 4  # inputs of another kind for each store, which takes ten times as long
FROM = "--store sqlite:///{}"
READS = (  # the verbs that read a store
    *(
        f"{verb} {FROM}"
        for verb in ("status", "status --json", "top", "top --json", "show", "logs")
    ),
    *(f"{verb} {FROM}" for verb in ("show --trial 1 --json", "rescore --target-flops 1M")),
    *(f"{verb} {FROM}" for verb in ("store check", "store backup {}.backup")),
    "store copy sqlite:///{} sqlite:///{}.copy",
)
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 0.5, 1e308, float("nan"), float("inf"), 10**25, 10**400, "", "x" * 5000,
    "\x1b[2J", "\ud800", [], {}, [[]], [None], {"choice": []}, {"choice": [1, 1, 2]}, {"a": {}},
    {"per_layer": {"choice": [1, 2]}}, {"block": "conv"}, {"choice": list(range(1, 300))}, "3.5.7",
)  # fmt: skip
NUMBERS = (b"\xff", b"\x00", b"\x7f", b"\x80", b"9" * 40, b"-1", b"1e999", b"\xff" * 8)


@dataclass(frozen=True)
class Failure:
    """An input that was not told as it should be."""

    kind: str
    number: int
    words: str
    what: str


Use = Callable[[Path], Iterator[tuple[str, Callable[[], tuple[int, str]]]]]


@dataclass(frozen=True)
class Kind:
    """A kind of input: the name of its file, a good one, a change, and what reads it."""

    name: str
    good: Callable[[], bytes]
    change: Callable[[bytes, random.Random], bytes]
    use: Use


def damage(content: bytes, rng: random.Random) -> bytes:
    """Change a few places of a file."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(changed) + 1)
        end = min(len(changed), at + rng.choice((1, 2, 4, 8, 100, 1000)))
        match rng.randrange(7):
            case 0 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case 1:
                changed[at:end] = rng.randbytes(end - at)
            case 2:
                del changed[at:end]
            case 3:
                changed[at:at] = changed[at:end]
            case 4:
                number = rng.choice(NUMBERS)
                changed[at : at + len(number)] = number
            case 5:
                changed[at:end] = bytes(end - at)
            case 6 if rng.random() < 0.3:
                del changed[at:]
    return bytes(changed)


def damage_json(content: bytes, rng: random.Random) -> bytes:
    """Change a few values of JSON, or its text."""
    if rng.random() < 0.3:
        return damage(content, rng)
    data = json.loads(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = list(_places(data))
        if not places:
            break
        holder, key = rng.choice(places)
        match rng.randrange(4):
            case 0 if isinstance(holder, dict):
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[rng.choice(("x", "name", "choice", "width"))] = rng.choice(ODD)
            case 2:
                holder[key] = [holder[key]] * rng.choice((1, 2, 300))
            case _:
                holder[key] = rng.choice(ODD)
    return json.dumps(data).encode()


def damage_toml(content: bytes, rng: random.Random) -> bytes:
    """Change a few values of TOML, or its text."""
    if rng.random() < 0.3:
        return damage(content, rng)
    lines = content.decode().splitlines()
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(lines))
        odd = json.dumps(rng.choice(ODD)).replace("Infinity", "inf").replace("NaN", "nan")
        lines[at] = f"{lines[at].partition('=')[0]} = {odd}"
    return "\n".join(lines).encode()


def damage_table(content: bytes, rng: random.Random) -> bytes:
    """Change a few cells or rows of a table, or its text."""
    if rng.random() < 0.3:
        return damage(content, rng)
    rows = list(csv.reader(io.StringIO(content.decode())))
    for _ in range(rng.choice((1, 1, 2, 3))):
        at, cells = rng.randrange(len(rows)), (*ODD, "../a/0.png", "/dev/zero", ".", "a|b", "train")
        match rng.randrange(4):
            case 0:
                rows[at] = rows[at] * rng.choice((0, 2, 300))
            case 1:
                rows[at:at] = [list(rows[at])] * rng.choice((1, 300))
            case _ if rows[at]:
                rows[at][rng.randrange(len(rows[at]))] = str(rng.choice(cells))
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode(errors="surrogatepass" if rng.random() < 0.5 else "replace")


def _places(data: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each place of plain data as its holder and its key."""
    keys = list(data) if isinstance(data, dict) else range(len(data))
    for key in keys:
        yield data, key
        if isinstance(data[key], dict | list):
            yield from _places(data[key])


def damage_store(content: bytes, rng: random.Random) -> bytes:
    """Change bytes of a database's file, or values in its rows."""
    if rng.random() < 0.5:
        return damage(content, rng)
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(content)
        connection.execute("PRAGMA ignore_check_constraints = on")
        tables = "SELECT name FROM sqlite_master WHERE type = 'table'"
        names = [name for (name,) in connection.execute(tables)]
        for _ in range(rng.choice((1, 2, 5))):
            table = rng.choice(names)
            columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]
            value = rng.choice((*ODD, b"\xff\x00", '{"a":', '["', "[]", "{}", "null", 2**62))
            value = json.dumps(value) if isinstance(value, dict | list) else value
            odd = (isinstance(value, int) and value > 2**63) or value == "\ud800"
            column = rng.choice(columns)
            change = f'UPDATE OR IGNORE "{table}" SET "{column}" = ? WHERE random() % 2'
            with suppress(sqlite3.Error):  # a key that can't have this value
                connection.execute(change, (None if odd else value,))
        connection.commit()
        return connection.serialize()


def good_npz() -> bytes:
    """Return a small data set."""
    rng, out = np.random.default_rng(0), io.BytesIO()
    arrays: dict[str, Any] = {"classes": np.array(["cat", "dog"])}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = rng.integers(0, 256, (12, 8, 8), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(12) % 2).astype(np.uint8)
    np.savez(out, **arrays)
    return out.getvalue()


def good_image(kind: str) -> bytes:
    """Return an image in a format."""
    out = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def good_archive(kind: str) -> bytes:
    """Return an archive of images."""
    out = io.BytesIO()
    names, image = [f"{label}/{i}.png" for label in "ab" for i in range(4)], good_image("PNG")
    if kind == "zip":
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as zipped:
            for name in names:
                zipped.writestr(name, image)
        return out.getvalue()
    with tarfile.open(fileobj=out, mode="w:gz" if kind == "tar.gz" else "w") as tarred:
        for name in (*names, f"a/{'x' * 120}.png"):
            info = tarfile.TarInfo(name)
            info.size = len(image)
            tarred.addfile(info, io.BytesIO(image))
    return out.getvalue()


def good_table() -> bytes:
    """Return a table of image files."""
    rows = (
        f"{'ab'[n % 2]}/{n}.png,{'ab'[n % 2]},{('train', 'val')[n // 6]},p{n}\n" for n in range(8)
    )
    return ("file,label,split,group\n" + "".join(rows)).encode()


def written(name: str, write: Callable[..., object], *more: object) -> Callable[[], bytes]:
    """Return what gives the content that a function writes into a file of this name."""

    def good() -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder, name), *more)
            return Path(folder, name).read_bytes()

    return good


def write_paths(path: Path) -> None:
    """Write a table of image files in Parquet."""
    import pyarrow
    from pyarrow import parquet

    rows = list(csv.DictReader(io.StringIO(good_table().decode())))
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def good_space() -> bytes:
    """Return a search space as JSON."""
    return json.dumps(load("efficientnet").to_json()).encode()


def good_architecture() -> bytes:
    """Return a network as JSON."""
    return json.dumps(load("mixnet_s").decode({}).to_json()).encode()


CONFIG = b"""
data = "digits"
target-flops = "1M"
trials = 5
epochs = 2
seed = 3
space = "mobilenet"
set = ["optimiser.learning_rate=3e-3"]
max_params = 1.5e6
pruner = "none"
"""
DESCRIPTION = b"""shape = [9, 6]
type = "uint16"
byte_order = "little"
"""
RECIPE = b"""
[training]
epochs = 3
batch_size = 32
[optimiser]
name = "sgd"
learning_rate = 0.05
[augmentation]
flip = true
"""


def good_store() -> bytes:
    """Return the database of a search of three trials."""
    with tempfile.TemporaryDirectory() as folder:
        ended = nas_here("search", *arguments(Path(folder), workers=0))
        if ended.returncode:
            raise SystemExit(f"The search for a store failed: {ended.stderr}")
        with closing(sqlite3.connect(Path(folder, "nas.db"))) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("PRAGMA journal_mode = DELETE")
            return connection.serialize()


def commands(*lines: str) -> Use:
    """Return what runs commands, in which {} is the path of the input."""

    def use(path: Path) -> Iterator[tuple[str, Callable[[], tuple[int, str]]]]:
        for line in lines:
            yield line, lambda line=line: _run(line.replace("{}", str(path)))  # type: ignore[misc]

    return use


def _run(line: str) -> tuple[int, str]:
    ended = nas_here(*line.split())
    if ended.returncode == 1 and ended.stderr.startswith("nas: wrong in"):  # of store check
        return 2, ""
    return ended.returncode, ended.stderr


def told(read: Callable[[Path], object]) -> Use:
    """Return what calls a function, and gives the exit code of the errors it raises."""

    def call(path: Path) -> tuple[int, str]:
        try:
            read(path)
        except NasError as error:
            return (2 if isinstance(error, UserError) else 1), f"nas: {error}"
        return 0, ""

    return lambda path: iter([(read.__name__, lambda: call(path))])


def unpacked(path: Path) -> None:
    """Unpack an archive."""
    archive.unpack(path, path.with_name("unpacked"), path.name)


def configured(path: Path) -> None:
    """Read and check a search's configuration."""
    options.check(options.read(options.given(str(path), {})))


def loaded(path: Path) -> None:
    """Load a data set of which one image is the input, and resize it."""
    root = path.with_name("pets")
    write_pets(root)
    (root / decoders.DESCRIPTION).write_bytes(DESCRIPTION)
    path.rename(root / "a" / path.name)
    data.load(root, cache_dir=path.parent).splits["train"].images(8)


def described(path: Path) -> None:
    """Load a data set whose description of .raw files is the input."""
    write_pets(path.parent)
    for label in "ab":
        save_raw(path.parent / label / "x.raw", slices()[0])
    data.load(path.parent, cache_dir=path.with_name(".cache")).splits["train"].images(8)


def whole(path: Path) -> None:
    """Load a data set that the input holds, or whose images it names, and resize it."""
    write_pets(path.parent)
    data.load(path, cache_dir=path.parent).splits["train"].images(8)


def write_pets(folder: Path) -> None:
    """Write images of two classes."""
    for number in range(8):
        label = folder / "ab"[number % 2]
        label.mkdir(parents=True, exist_ok=True)
        label.joinpath(f"{number}.png").write_bytes(good_image("PNG"))


CIFAR = "cifar-10-binary.tar"
FORMATS = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "bmp": "BMP", "tif": "TIFF", "webp": "WEBP"}
KINDS = {
    "npz": Kind("x.npz", good_npz, damage, commands("data show {} --json")),
    "space": Kind(
        "x.json", good_space, damage_json,
        commands("space validate {} --json", "space sample {}", "cost {}"),
    ),
    "architecture": Kind("x.json", good_architecture, damage_json, commands("cost {}")),
    "configuration": Kind("x.toml", lambda: CONFIG, damage_toml, told(configured)),
    "recipe": Kind("x.toml", lambda: RECIPE, damage_toml, commands("recipe show {}")),
    **{
        kind: Kind(f"x.{kind}", lambda kind=kind: good_archive(kind), damage, told(unpacked))  # type: ignore[misc]
        for kind in ("zip", "tar", "tar.gz")
    },
    **{
        kind: Kind(f"x.{kind}", lambda name=name: good_image(name), damage, told(loaded))  # type: ignore[misc]
        for kind, name in FORMATS.items()
    },
    **{
        f"16-bit-{name}".replace(" ", "-"): Kind(
            f"x{ending}", written(f"x{ending}", write, slices()[0]), damage, told(loaded)
        )
        for name, (ending, write) in WRITERS.items()
    },
    "raw.toml": Kind(
        decoders.DESCRIPTION, lambda: DESCRIPTION, damage_toml, told(described)
    ),
    "csv": Kind("x.csv", good_table, damage_table, told(whole)),
    "parquet-of-paths": Kind("x.parquet", written("x.parquet", write_paths), damage, told(whole)),
    "parquet": Kind("x.parquet", written("x.parquet", shard, range(12)), damage, told(whole)),
    "cifar": Kind(CIFAR, written(CIFAR, packed, cifar(10)), damage, told(whole)),
    "store": Kind(
        "x.db", good_store, damage_store,
        commands(*READS),
    ),
}  # fmt: skip


@contextmanager
def in_time() -> Iterator[None]:
    """Raise TimeoutError where the block takes longer than the limit."""

    def ring(*_: object) -> None:
        raise TimeoutError(f"over {LIMIT:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def try_one(
    name: str, good: bytes, number: int, seed: int
) -> tuple[Counter[int], float, list[Failure]]:
    """Give one input of a kind to what reads it: exit codes, seconds of the slowest, failures."""
    kind, rng = KINDS[name], random.Random(f"{seed} {name} {number}")
    codes, slowest, failures = Counter[int](), 0.0, []
    with (
        tempfile.TemporaryDirectory() as folder,
        chdir(folder),
        patch.dict(os.environ, XDG_CACHE_HOME=folder),
    ):
        path = Path(folder, kind.name)
        content = kind.change(good, rng)
        path.write_bytes(content)
        for words, call in kind.use(path):
            start, what = time.perf_counter(), ""
            try:
                with in_time():
                    code, message = call()
                if code not in (0, 2) or len(message) > LONGEST + 100:
                    what = f"exit {code}: {message[:500]}"
                codes[code] += 1
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                stack = "".join(traceback.format_tb(error.__traceback__)[-3:])
                what = f"{type(error).__name__}: {str(error)[:200]}\n{stack}"
            slowest = max(slowest, time.perf_counter() - start)
            if what:
                failures.append(Failure(name, number, words, what))
            if name == "store":
                path.write_bytes(content)
    return codes, slowest, failures


def fuzz(name: str, count: int, seed: int = 0) -> tuple[dict[str, Any], list[Failure]]:
    """Try so many inputs of a kind; return the counts and the failures."""
    start, codes, slowest, failures = time.perf_counter(), Counter[int](), 0.0, list[Failure]()
    good = KINDS[name].good()
    for number in range(count):
        found, seconds, failed = try_one(name, good, number, seed)
        codes += found
        slowest, failures = max(slowest, seconds), failures + failed
    row = {
        "inputs": count,
        "exit_codes": {str(code): times for code, times in sorted(codes.items())},
        "failures": len(failures),
        "slowest_seconds": round(slowest, 2),
        "seconds": round(time.perf_counter() - start, 1),
    }
    return row, failures


def store(seed: int, rows: Mapping[str, Any], *, fresh: bool) -> None:
    """Write the counts of these kinds beside the others', or where they are `fresh` alone."""
    nothing: dict[str, Any] = {"peak_mebibytes": 0, "kinds": {}}
    before = nothing if fresh else json.loads(RESULT.read_text())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    kinds = {name: rows.get(name) or before["kinds"].get(name) for name in KINDS}
    result = {
        "seed": seed,
        "peak_mebibytes": max(peak, before["peak_mebibytes"]),
        "kinds": {name: row for name, row in kinds.items() if row},
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


def main() -> None:
    """Try all kinds, write the counts, end with status 1 where something failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--count", type=int, default=10_000, help="inputs, shared by the kinds, fewer stores"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", nargs="*", help="only these; the others' results stay")
    asked = parser.parse_args()
    rows, failures = {}, []
    kinds = asked.kind or list(KINDS)
    for name in kinds:
        shares = len(kinds) if asked.kind else OTHERS * (len(kinds) - 1) + 1
        share = asked.count * (1 if asked.kind or name == "store" else OTHERS)
        rows[name], failed = fuzz(name, -(-share // shares), asked.seed)
        failures += failed
        print(name, json.dumps(rows[name]), flush=True)
        store(asked.seed, rows, fresh=not asked.kind)
    for failure in failures[:50]:
        print(failure.kind, failure.number, failure.words, failure.what, file=sys.stderr)
    if failures:
        raise SystemExit(f"{len(failures)} failures.")


if __name__ == "__main__":
    main()
