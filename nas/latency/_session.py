"""Run ONNX files in onnxruntime: the part of measuring that runs on another machine too.

This file is sent there as it is (see `remote`), so it needs Python and onnxruntime alone.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MARK = "nas-latency "  # begins each answer: a shell may print other lines


def runner(model: bytes, images: Any, threads: int) -> Callable[[], object]:
    """Return what runs an ONNX file once on images, in so many threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: images}
    return lambda: session.run(None, feed)


def processor() -> str:
    """Return the processor's name, so far as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    facts = (line.partition(":") for line in lines)
    named = {name.strip(): value.strip() for name, _, value in facts}
    name = named.get("model name") or named.get("Model") or platform.processor()
    return f"{name or platform.machine()}, {os.cpu_count()} cores"


def milliseconds(run: Callable[[], object], clock: Callable[[], float]) -> float:
    """Return the milliseconds of one run."""
    began = clock()
    run()
    return 1000 * (clock() - began)


def clock(threads: int) -> Callable[[], float]:
    """Return the clock: one thread is timed by its processor time, several by the wall's."""
    return time.thread_time if threads == 1 else time.perf_counter


def serve() -> None:
    """Answer orders on standard input until it ends, a line of JSON each.

    `{"load": bytes, "shape": [...], "threads": n}` is followed by an ONNX file; `{"run": i}` runs
    the i-th file that was loaded and answers with the milliseconds.
    """
    import onnxruntime

    runs: list[tuple[Callable[[], object], Callable[[], float]]] = []

    def answer(**facts: Any) -> None:
        print(MARK + json.dumps(facts), flush=True)

    answer(version=onnxruntime.__version__, processor=processor())
    while line := sys.stdin.buffer.readline():
        order = json.loads(line)
        if "load" in order:
            import numpy  # comes with onnxruntime, which is the one to miss

            model = sys.stdin.buffer.read(order["load"])
            images = numpy.random.default_rng(0).random(order["shape"], dtype=numpy.float32)
            runs.append((runner(model, images, order["threads"]), clock(order["threads"])))
            answer(loaded=len(runs) - 1)
        else:
            answer(ms=milliseconds(*runs[order["run"]]))
