"""Samplers of packages that do not live beside `nas`: syne-tune's and NNI's.

    python -m benchmarks.search.peers install [--folder FOLDER]

makes a Python environment of their own, in FOLDER, in $NAS_PEERS or in studies/.cache/peers; the
comparison asks them from there through `peer_worker.py`. Nothing of theirs is imported here.
"""

import argparse
import atexit
import itertools
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from nas.errors import UserError

NAMES = (
    "syne_tune_cqr", "syne_tune_bore", "syne_tune_kde", "syne_tune_rea", "nni_tpe", "nni_evolution",
)  # fmt: skip
HERE = Path(__file__).parent
WORKER, WANTED = HERE / "peer_worker.py", HERE / "peers.txt"
FOLDER = Path("studies", ".cache", "peers")
INSTALL = "python -m benchmarks.search.peers install"
_runs = itertools.count()


def folder() -> Path:
    """Return where the environment is looked for."""
    return Path(os.environ.get("NAS_PEERS") or FOLDER)


def python() -> Path:
    """Return the environment's Python; raises UserError where it was not made, or not finished."""
    made = folder()
    if not (made / "installed.txt").is_file():
        raise UserError(
            f"{', '.join(NAMES)} need packages that are not beside nas: no environment of theirs at"
            f" {made}. Make it with: {INSTALL}. $NAS_PEERS names another folder."
        )
    return made / "bin" / "python"


def install(target: Path) -> None:
    """Make the environment; raises UserError with pip's last words where that fails."""
    venv.create(target, with_pip=True, clear=True)
    pip = [str(target / "bin" / "python"), "-m", "pip"]
    options = ["--quiet", "--disable-pip-version-check", "--prefer-binary", "-r", str(WANTED)]
    done = subprocess.run([*pip, "install", *options], capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise UserError(f"pip could not install {WANTED.name}: {said[-1]}")
    frozen = subprocess.run([*pip, "freeze"], capture_output=True, text=True, check=True)
    (target / "installed.txt").write_text(frozen.stdout)  # last: marks a whole environment


class Worker:
    """The sub-process that the samplers run in, one after the other."""

    def __init__(self, interpreter: Path) -> None:
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process)
        self.process = subprocess.Popen(
            [str(interpreter), "-P", "-W", "ignore", str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},  # runs at a time are what cores are for
        )

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Send a line and return the answer; raises UserError with what went wrong over there."""
        stdin, stdout = self.process.stdin, self.process.stdout
        if stdin is None or stdout is None:
            raise UserError("The peers' process was started without pipes.")
        try:
            stdin.write(json.dumps(question) + "\n")
            stdin.flush()
            line = stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise UserError(f"The peers' process ended: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise UserError(f"A peer failed at {question}: {answer['error']}")
        return answer

    def close(self) -> None:
        """End the process."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process.wait()
        self.log.close()

    def _last_words(self) -> str:
        self.process.wait()
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"status {self.process.returncode}"


@cache
def _worker(interpreter: Path) -> Worker:
    """Return the process, started once: importing the packages takes seconds."""
    worker = Worker(interpreter)
    atexit.register(worker.close)
    return worker


class PeerSampler(BaseSampler):
    """Another package's sampler as one of Optuna's, for one study in this process."""

    def __init__(self, name: str, seed: int, choices: Mapping[str, CategoricalDistribution]):
        self.choices = dict(choices)
        self.worker, self.run = _worker(python()), next(_runs)
        values = {key: list(each.choices) for key, each in self.choices.items()}
        self._ask(begin=name, seed=seed, choices=values)

    def _ask(self, **question: Any) -> dict[str, Any]:
        return self.worker.ask({**question, "run": self.run})

    def infer_relative_search_space(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """Return all choices."""
        return dict(self.choices)

    def sample_relative(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],  # noqa: ARG002
    ) -> dict[str, Any]:
        """Return what the peer proposes."""
        return self._ask(propose=trial.number)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Any:
        """Draw a choice that the peer was not told of."""
        return RandomSampler(trial.number).sample_independent(study, trial, name, distribution)

    def after_trial(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Tell the peer what a trial gave, under the choices that it has by now."""
        if state is TrialState.COMPLETE and values:
            self._ask(tell=trial.number, choices=trial.params, value=values[0])


def main(arguments: Sequence[str] | None = None) -> int:
    """Install; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search.peers")
    parser.add_argument("verb", choices=["install"])
    parser.add_argument(
        "--folder", type=Path, default=None, help="default: $NAS_PEERS or the cache"
    )
    options = parser.parse_args(arguments)
    target = options.folder or folder()
    try:
        install(target)
    except (UserError, OSError, subprocess.CalledProcessError) as error:
        print(f"python -m benchmarks.search.peers: {error}", file=sys.stderr)
        return 2
    print(f"{target}: ready" + ("" if target == folder() else f"; use it with NAS_PEERS={target}"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
