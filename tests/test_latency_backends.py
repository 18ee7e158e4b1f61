"""Back ends of latency: each runs the network that was built; tables remember which one ran it."""

import getpass
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from nas import blocks, network, search_space
from nas.architecture import Architecture, Row
from nas.cli import app
from nas.commands import networks
from nas.errors import UserError
from nas.latency import backends, devices, measure, remote
from nas.latency.backends._onnx import onnx_bytes
from nas.latency.setting import Setting, setting
from nas.latency.table import UNEVEN, Error, LatencyTable, features, summed
from nas.search_space import preflight
from nas.study import options

SPACES = search_space.spaces()
SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")


def drawn(space: str, seed: int) -> Architecture:
    """Return a random architecture for 32 px, which the back ends build in a second."""
    chosen = SPACES[space]
    values = chosen.draw(random.Random(seed))
    return chosen.decode(values, in_channels=3, classes=10).at(resolution=32)


def mbconv(out_channels: int, **options: object) -> Row:
    """Return the row of an mbconv block."""
    return Row.from_json({"block": "mbconv", "out_channels": out_channels, **options})


def outputs(name: str, module: nn.Module, images: torch.Tensor) -> np.ndarray:
    """Return the outputs of a back end's run."""
    with torch.inference_mode():
        found = backends.get(name).prepare(module, images, 1)()
    first = found[0] if isinstance(found, list) or hasattr(found, "names") else found
    return np.asarray(first)


def answers(name: str, module: nn.Module, images: torch.Tensor) -> bool:
    """Tell whether a back end gives the outputs of the module itself."""
    with torch.inference_mode():
        expected = module(images).numpy()
    difference = np.abs(outputs(name, module, images) - expected).max()
    return bool(difference <= 1e-4 * np.abs(expected).max())


def placed_blocks() -> dict[str, tuple[Row, int, int]]:
    """Return one block of each kind that the shipped spaces have, with its input."""
    walks = (network.walk(drawn(space, seed)) for space in SPACES for seed in range(3))
    return {placed[0].block: placed for walk in walks for placed in walk}


PLACED = placed_blocks()


@pytest.mark.parametrize("block", PLACED)
def test_onnxruntime_runs_the_block_that_was_built(block: str) -> None:
    """Every kind of block gives the module's outputs, so its latency is that block's."""
    torch.manual_seed(0)
    row, channels, size = PLACED[block]
    assert answers(
        "onnxruntime", blocks.build(row, channels).eval(), torch.rand(2, channels, size, size)
    )


@pytest.mark.parametrize("name", [n for n in backends.names() if n != "onnxruntime"])
def test_every_other_back_end_runs_a_module_as_it_was_built(name: str) -> None:
    """A convolution gives the module's own outputs: one that needs no C++ compiled by PyTorch."""
    torch.manual_seed(0)
    assert answers(name, nn.Conv2d(3, 16, 3, stride=2).eval(), torch.rand(2, 3, 16, 16))


def operators(model: bytes, folder: Path) -> Counter[str]:
    """Count the operators that onnxruntime makes of an ONNX file."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of PyTorch about its own parts
def test_the_quick_exporter_and_that_for_shipping_give_the_same_operators(tmp_path: Path) -> None:
    """A measured block is folded and fused as the exported one is."""
    options = {"kernels": "3.5", "expansion": 2, "se_ratio": 0.25, "activation": "hard_swish"}
    module = blocks.build(mbconv(16, **options), 16).eval()
    images = torch.rand(1, 16, 8, 8)
    quick = operators(onnx_bytes(module, images), tmp_path)
    shipped = torch.onnx.export(module, (images,), dynamo=True, verbose=False)
    assert quick == operators(shipped.model_proto.SerializeToString(), tmp_path)
    assert "BatchNormalization" not in quick


def test_the_default_is_onnxruntime_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, and on a GPU, it is PyTorch; asking for it then names the extra."""
    assert (backends.default(), backends.default("cuda")) == ("onnxruntime", "torch")
    monkeypatch.setattr(backends, "find_spec", lambda _: None)
    assert backends.default() == "torch"
    with pytest.raises(UserError, match=r"needs onnxruntime and onnx: pip install 'nas\[onnx\]'"):
        setting(backend="onnxruntime")


def test_a_setting_states_what_ran_the_network() -> None:
    """Back end, its version, threads, batch and machine are said and stored."""
    how = setting(8, 2, backend="onnxruntime")
    words = ("batch 8", "2 threads", "wall time", "cores", f"onnxruntime {onnxruntime.__version__}")
    assert [word for word in words if word not in how.describe()] == []
    assert Setting.from_json(json.loads(json.dumps(how.to_json()))) == how


def test_a_table_from_before_the_back_ends_is_eager_pytorch_and_keeps_its_hash() -> None:
    """It names no back end; read and written it is the same text."""
    how = setting(backend="torch")
    table = LatencyTable(
        "x", 3, 10, how, {}, {("conv", "calls"): 1.0}, Error(0, None, None, 1, 0), 1.0
    )
    stored = table.to_json()
    assert {"backend", "runtime", "host"}.isdisjoint(stored["setting"])
    again = LatencyTable.from_json(stored)
    assert (again.setting.backend, again.hash) == ("torch", table.hash)
    other = replace(table, setting=setting(backend="onnxruntime"))
    assert other.hash != table.hash


def test_an_uneven_convolution_is_an_operator_of_its_own() -> None:
    """Groups of 28 channels are even, groups of 25 are not; a table without them takes the even."""
    row = mbconv(32, kernels="3.5.7.9.11", expansion=4)
    even, uneven = (row, 36, 8), (row, 32, 8)  # 144 = 32 + 4 x 28 channels, 128 = 28 + 4 x 25
    kinds = [
        {op for op, _ in features(block) if op.startswith("depthwise")} for block in (even, uneven)
    ]
    assert kinds == [{"depthwise"}, {"depthwise", "depthwise" + UNEVEN}]
    assert summed(uneven, {("depthwise", "calls"): 2.0}) == 10.0


def test_measuring_goes_on_as_long_as_there_is_time_for_some_rounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Networks that take long to prepare don't take the time of those that are there."""
    clock = Clock()
    monkeypatch.setattr(measure, "time", SimpleNamespace(monotonic=lambda: clock.now))
    cases = [measure.Case(partial(clock.slow_identity, 0.02), 3, 8) for _ in range(40)]
    measured = measure.measure(cases, setting(backend="torch"), seconds=0.4, rounds=5)
    assert 2 <= len(measured) < 40
    assert measured[0].runs == 9


@dataclass
class Clock:
    """A clock that only the building of modules moves, in seconds."""

    now: float = 0.0

    def slow_identity(self, seconds: float) -> nn.Module:
        """Return a module that takes a while to be built."""
        self.now += seconds
        return nn.Identity()


@pytest.mark.parametrize(
    "host", ["", "-oProxyCommand=x", "a b", "pi@", "h;x", "h:$(x)", "h:-c", "h\n"]
)
def test_what_is_no_host_is_refused(host: str) -> None:
    """The rule and the value are said; nothing is run."""
    with pytest.raises(UserError, match="A host to measure on is a name for ssh such as"):
        remote.command(host)


def test_a_host_is_one_word_for_ssh_and_its_python_one_word_for_the_shell() -> None:
    """Options end before the host; the Python's path is quoted."""
    *options, host, line = remote.command("pi@raspberrypi:venv/bin/python")
    assert (options[-1], host) == ("--", "pi@raspberrypi")
    assert line.startswith("venv/bin/python -c 'import sys; ")
    assert remote.command("raspberrypi")[-1].startswith("python3 -c ")


def free_port() -> int:
    """Return a port of the loopback that nobody uses."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a real sshd on the loopback, for this user and a key of its own; return the host."""
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("there is no sshd here: apt-get install openssh-server")
    folder, port = tmp_path_factory.mktemp("sshd"), free_port()
    for name in ("host", "user"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(words, check=True, timeout=60)
    server = {
        "ListenAddress": f"127.0.0.1:{port}", "HostKey": folder / "host", "StrictModes": "no",
        "AuthorizedKeysFile": folder / "user.pub", "PidFile": "none", "UsePAM": "no",
        "PermitRootLogin": "prohibit-password",
    }  # fmt: skip
    client = {
        "Host": "loopback", "HostName": "127.0.0.1", "Port": port, "User": getpass.getuser(),
        "IdentityFile": folder / "user", "IdentitiesOnly": "yes",
        "UserKnownHostsFile": folder / "known", "StrictHostKeyChecking": "accept-new",
    }  # fmt: skip
    for name, values in (("sshd_config", server), ("ssh_config", client)):
        (folder / name).write_text("".join(f"{key} {value}\n" for key, value in values.items()))
    ssh = folder / "bin" / "ssh"  # the user's configuration, which ssh finds by the home folder
    ssh.parent.mkdir()
    ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/ssh_config "$@"\n')
    ssh.chmod(0o755)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # the system's: root's sshd does not run without it
    log = folder / "log"
    started = subprocess.Popen([SSHD, "-D", "-f", str(folder / "sshd_config"), "-E", str(log)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{ssh.parent}{os.pathsep}{os.environ['PATH']}")
        for _ in range(200):
            if started.poll() is not None:
                pytest.skip(f"sshd does not run here: {log.read_text().strip()}")
            with socket.socket() as connection:
                if connection.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"loopback:{sys.executable}"
    started.terminate()
    started.wait(10)


def test_networks_are_measured_at_a_host_that_ssh_reaches(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host's onnxruntime runs the exported file; the setting says where."""
    monkeypatch.setattr(networks, "MEASURING", 0.5)
    words = f"latency measure mixnet_s --resolution 16 --classes 2 --json --host {host}"
    run = CliRunner().invoke(app, words.split())
    assert run.exit_code == 0, run.output
    measured = json.loads(run.stdout)
    assert measured["median_ms"] > 0
    assert measured["runs"] > 1
    how = measured["setting"]
    assert (how["host"], how["backend"], how["clock"]) == (host, "onnxruntime", "processor")
    assert how["runtime"] == onnxruntime.__version__


def test_a_table_is_made_at_a_host(host: str, tmp_path: Path) -> None:
    """It is stored with the host, and predicts as any other."""
    out = tmp_path / "table.json"
    words = f"latency table --resolution 16 --seconds 2 --out {out} --json --host {host}"
    run = CliRunner().invoke(app, words.split())
    assert run.exit_code == 0, run.output
    stored = LatencyTable.from_json(json.loads(out.read_text()))
    assert stored.setting.host == host
    assert stored.milliseconds(drawn("mixconv", 0)) > 0


@pytest.mark.parametrize(
    ("python", "message"),
    [
        ("no/such/python", "no/such/python"),
        ("/bin/echo", "the connection ended"),
        ("{bare}", "No module named 'onnxruntime'"),
    ],
    ids=["no python", "another program", "no onnxruntime"],
)
def test_a_host_that_can_not_measure_says_why(
    host: str, python: str, message: str, tmp_path: Path
) -> None:
    """The message has the host and the last words of the other side; the exit code is 2."""
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    at = f"{host.partition(':')[0]}:{python.format(bare=bare)}"
    words = f"latency measure mixnet_s --resolution 16 --host {at}"
    run = CliRunner().invoke(app, words.split())
    assert (run.exit_code, run.stdout) == (2, "")
    assert f"Can't measure at {at}: " in run.stderr
    assert message in run.stderr


def test_devices_are_documented_and_limit_a_network() -> None:
    """Each has a source, and limits of a byte a weight and an activation."""
    for name in devices.names():
        sheet = devices.get(name)
        assert sheet.source.startswith("https://")
        macs, params, _, memory, _ = sheet.limits
        assert (macs, params) == (sheet.clock_hz * sheet.macs_per_cycle, sheet.flash_bytes)
        assert memory == 4 * sheet.ram_bytes
    with pytest.raises(UserError, match=r"No device named 'stm32f747'\. Did you mean 'stm32f746'"):
        devices.get("stm32f747")


def test_a_device_says_how_much_of_a_space_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The share within each limit is said; limits that are given win over the device's."""
    monkeypatch.setattr(preflight, "SAMPLES", 100)
    words = "space show mixconv --target-device stm32f746 --max-params 2M --json"
    shown = json.loads(CliRunner().invoke(app, words.split()).stdout)
    sheet = devices.get("stm32f746")
    assert shown["limits"] == {
        "macs": sheet.limits.macs,
        "params": 2_000_000,
        "peak_activation_bytes": 4 * 320 * 1024,
    }
    assert shown["device"] == sheet.to_json()
    assert 0 < shown["within_limits"] <= min(shown["within"].values()) < 1


def test_a_search_keeps_the_limits_of_a_device() -> None:
    """They hold where no others are given; the target's own limit on FLOPs holds beside them."""
    search = options.read({"target_flops": "100M", "target_device": "stm32f746"}).complete()
    sheet = devices.get("stm32f746").limits
    assert search.limits == sheet._replace(macs=150_000_000)
    own = {"max_memory": "64KB", "max_flops": "1G", "target_device": "stm32f746"}
    given = options.read({"target_flops": "100M", **own}).complete()
    assert given.limits == sheet._replace(macs=10**9, peak_activation_bytes=64 * 1024)
