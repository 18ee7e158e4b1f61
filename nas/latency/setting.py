"""How latency is measured: without it a number of milliseconds means nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.metadata import version
from typing import Any

from nas.errors import UserError
from nas.latency import _session, backends, remote
from nas.quantities import check_positive

WARM_UP = 1  # runs before the first that counts: memory is taken, kernels are chosen
DEVICES = ("cpu", "cuda")
LATER = {"backend": backends.EAGER, "runtime": "", "host": ""}


@dataclass(frozen=True)
class Setting:
    """What ran a network, where, and by which clock.

    `clock` is "processor" (time of the one thread) or "wall"; evaluation mode and inference mode
    always, weights and images as `memory_format` says. `runtime` is the version of a back end
    besides PyTorch. `host` is the machine that was reached over ssh, "" where it is this one.
    """

    batch_size: int
    threads: int
    device: str
    device_name: str
    torch: str
    clock: str
    dtype: str = "float32"
    memory_format: str = "channels_last"
    warm_up: int = WARM_UP
    backend: str = backends.EAGER
    runtime: str = ""
    host: str = ""

    def describe(self) -> str:
        """Say it in one line."""
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        with_what = f"{self.backend} {self.runtime or self.torch}"
        where = f" at {self.host}" if self.host else ""
        return (
            f"median at batch {self.batch_size}, {threads}, {self.dtype}, {self.memory_format}, "
            f"{self.clock} time, {self.device_name}{where}, {with_what}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the setting as it is stored.

        Fields that came later are left out at their defaults: stored tables keep their hashes.
        """
        items = vars(self).items()
        return {key: value for key, value in items if key not in LATER or value != LATER[key]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Setting":
        """Read a setting back; raises KeyError or TypeError where it is not one."""
        values = {field.name: {**LATER, **data}[field.name] for field in fields(cls)}
        for field in fields(cls):
            wanted = int if field.type in (int, "int") else str
            if not isinstance(values[field.name], wanted):
                raise TypeError(f"{field.name} is {values[field.name]!r}")
        return cls(**values)


def setting(
    batch_size: int = 1,
    threads: int = 1,
    device: str = "cpu",
    *,
    backend: str | None = None,
    host: str | None = None,
) -> Setting:
    """Return a setting on this machine, or on the one that ssh calls `host`.

    Without a back end that is onnxruntime, if it is installed, else PyTorch. Raises UserError for a
    setting that can't be offered.
    """
    import torch  # here: reading a stored table of latency needs none

    check_positive(batch_size=batch_size, threads=threads)
    if device not in DEVICES:
        raise UserError(f"--device is {' or '.join(DEVICES)}, not {device!r}.")
    if host is not None:
        return _remote_setting(host, batch_size, threads, device, backend)
    name = backend or backends.default(device)
    runs = backends.get(name)
    if device not in runs.DEVICES:
        raise UserError(f"The latency back end {name} runs on {runs.DEVICES[0]}, not on {device}.")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda needs a GPU that PyTorch can use; there is none.")
    return Setting(
        batch_size,
        threads,
        device,
        device_name=torch.cuda.get_device_name() if device == "cuda" else _session.processor(),
        torch=torch.__version__,
        clock="processor" if device == "cpu" and threads == 1 else "wall",
        memory_format=runs.MEMORY_FORMAT,
        backend=name,
        runtime="" if runs.PACKAGES[0] == "torch" else version(runs.PACKAGES[0]),
    )


def _remote_setting(
    host: str, batch_size: int, threads: int, device: str, backend: str | None
) -> Setting:
    """Ask a machine which onnxruntime and which processor it has."""
    import torch

    name = backend or backends.PREFERRED
    if (name, device) != (backends.PREFERRED, "cpu"):
        raise UserError(
            f"A host measures with {backends.PREFERRED} on cpu, not with {name} on {device}."
        )
    with remote.connect(host) as machine:
        return Setting(
            batch_size,
            threads,
            device,
            device_name=machine.processor,
            torch=torch.__version__,
            clock="processor" if threads == 1 else "wall",
            memory_format=backends.get(name).MEMORY_FORMAT,
            backend=name,
            runtime=machine.version,
            host=host,
        )
