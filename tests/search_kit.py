"""A small search for tests: separable images and a space of a few tiny networks."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner

from nas.cli import app

ROOT = Path(__file__).parent.parent
SPACE = """
from nas.search_space import SearchSpace, block, choice, stage

SPACE = SearchSpace(
    name="tiny",
    resolution=8,
    stem=stage(block("conv"), width=8),
    stages=[
        stage(
            block("mbconv", kernels=choice("3", "3.5"), expansion=choice(2, 3, 4)),
            width=choice(8, 16),
            depth=choice(1, 2),
            stride=2,
        )
    ],
)
"""


def write_inputs(folder: Path, images: int = 96) -> tuple[str, str]:
    """Write a space and a data set whose two classes are dark and bright; return their paths."""
    random = np.random.RandomState(0)
    arrays = {}
    for split, count in (("train", images), ("val", 32), ("test", 32)):
        labels = np.arange(count) % 2
        pixels = random.randint(0, 120, (count, 8, 8)) + 120 * labels[:, None, None]
        arrays |= {f"{split}_images": pixels.astype(np.uint8), f"{split}_labels": labels}
    np.savez(folder / "tones.npz", **arrays)
    (folder / "tiny.py").write_text(SPACE)
    return str(folder / "tiny.py"), str(folder / "tones.npz")


def arguments(folder: Path, **options: object) -> list[str]:
    """Return the arguments of a tiny search in a folder; options override the defaults."""
    space, data = write_inputs(folder, int(str(options.pop("images", 96))))
    chosen: dict[str, object] = {
        "space": space, "data": data, "target_flops": "50k", "trials": 3, "epochs": 2,
        "workers": 1, "study": "tiny", "pruner": "none", "finalists": 0,
        "folds": 1,
        "store": f"sqlite:///{folder}/nas.db", "out": str(folder / "studies"),
    }  # fmt: skip
    chosen |= options
    return [part for k, v in chosen.items() for part in (f"--{k.replace('_', '-')}", str(v))]


def command(*words: str) -> list[str]:
    """Return the words that call `nas` with these arguments."""
    return [sys.executable, "-m", "nas.cli", *words]


def nas(*words: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run the command line to its end."""
    environment = {k: v for k, v in os.environ.items() if k != "NAS_STORE"}
    return subprocess.run(
        command(*words), capture_output=True, text=True, timeout=300, cwd=cwd, env=environment
    )


def nas_here(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line in this process, which has imported torch; see `--workers 0`."""
    ended = CliRunner().invoke(app, list(words), env={"NAS_STORE": None})
    if ended.exception and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return subprocess.CompletedProcess(words, ended.exit_code, ended.stdout, ended.stderr)


def telling_of_torch(*words: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a command in a process of its own, which prints last whether it imported torch."""
    code = (
        "import atexit, sys; from nas.cli import main;"
        "atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr)); main()"
    )
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd)


def result(run: "subprocess.CompletedProcess[str]") -> Any:
    """Return the JSON that a run printed last; fail with its errors if it failed."""
    if run.returncode:
        raise AssertionError(f"exit {run.returncode}: {run.stderr[-2000:]}")
    return json.loads(run.stdout.strip().splitlines()[-1])


def read_until(stream: int, wanted: str, seconds: float = 180) -> str:
    """Read a file descriptor until a text has come; fail when it ends or the time is up."""
    seen, end = "", time.monotonic() + seconds
    while wanted not in seen:
        assert time.monotonic() < end, f"{wanted!r} did not come: {seen}"
        if select.select([stream], [], [], 1)[0]:
            more = os.read(stream, 65536).decode(errors="replace")
            assert more, f"it ended without {wanted!r}: {seen}"
            seen += more
    return seen


def kill_all(pids: Iterable[int]) -> None:
    """Kill processes at once, in this order, as a power cut does; one may have ended since."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended, also where nobody has asked for its exit status yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
