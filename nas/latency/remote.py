"""Measure on another machine over ssh: it gets ONNX files and needs Python and onnxruntime alone.

The system's `ssh` connects, with the keys, ports and names of the user's own configuration. The
program `_session` is sent over the connection's standard input; nothing is written there.
"""

import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from inspect import getsource
from shlex import quote
from typing import IO, Any, cast

from nas.errors import UserError
from nas.latency import _session

ADDRESS = re.compile(r"((?:\w[\w.-]*@)?[A-Za-z0-9][\w.-]*)(?::([\w./+][\w./+-]*))?", re.ASCII)
FIRST = "import sys; exec(sys.stdin.buffer.read(int(sys.stdin.buffer.readline())))"
SSH = (
    *("ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"),
    *("-o", "ServerAliveInterval=15", "-o", "ClearAllForwardings=yes", "--"),
)
ENDING = 10.0  # seconds in which the other side ends by itself


def command(host: str) -> list[str]:
    """Return the command that runs Python at user@host, or at user@host:path/of/python.

    Raises UserError for all that is no such address, such as an option of ssh.
    """
    matched = ADDRESS.fullmatch(host)
    if matched is None:
        raise UserError(
            "A host to measure on is a name for ssh such as pi@raspberrypi, or with the path of "
            f"its Python, pi@raspberrypi:venv/bin/python; not {host!r}."
        )
    name, python = matched.groups()
    return [*SSH, name, f"{quote(python or 'python3')} -c {quote(FIRST)}"]


class Machine:
    """A machine that answers; `version` is its onnxruntime's, `processor` the name of its own."""

    def __init__(self, host: str, process: "subprocess.Popen[bytes]", errors: IO[bytes]) -> None:
        self.host, self._process, self._errors = host, process, errors
        self._orders = cast(IO[bytes], process.stdin)
        self._answers = cast(IO[bytes], process.stdout)
        program = getsource(_session).encode() + b"\nserve()\n"
        facts = self._ask(b"%d\n" % len(program) + program)
        self.version, self.processor = str(facts["version"]), str(facts["processor"])

    def load(self, model: bytes, shape: Sequence[int], threads: int) -> Callable[[], float]:
        """Send an ONNX file; return what runs it there once and gives the milliseconds."""
        order = {"load": len(model), "shape": list(shape), "threads": threads}
        number = self._ask(json.dumps(order).encode() + b"\n" + model)["loaded"]
        run = json.dumps({"run": number}).encode() + b"\n"
        return lambda: float(self._ask(run)["ms"])

    def _ask(self, order: bytes) -> dict[str, Any]:
        """Send an order and return the answer; raises UserError with the last error of ssh."""
        with suppress(BrokenPipeError):
            self._orders.write(order)
            self._orders.flush()
        mark = _session.MARK.encode()
        for line in self._answers:
            if line.startswith(mark):
                answer: dict[str, Any] = json.loads(line[len(mark) :])
                return answer
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDING)
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").split("\n")
        words = [line for line in map(str.strip, said) if line] or ["the connection ended"]
        raise UserError(f"Can't measure at {self.host}: {words[-1]}")


@contextmanager
def connect(host: str) -> Iterator[Machine]:
    """Connect to a machine; raises UserError where it can't be reached or has no onnxruntime."""
    line = command(host)
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )
        except FileNotFoundError:
            raise UserError("Measuring at a host needs ssh; there is none on PATH.") from None
        try:
            yield Machine(host, process, errors)
        finally:
            _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Close the pipes, on which the other side ends; end ssh itself where it does not."""
    for pipe in (process.stdin, process.stdout):
        with suppress(BrokenPipeError):
            cast(IO[bytes], pipe).close()
    try:
        process.wait(ENDING)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
