"""Devices: one TOML file each, with the data sheet that its numbers come from.

A network on a microcontroller is quantised to int8: a byte a weight and a byte an activation.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from nas.cost import BYTES_PER_ELEMENT, Limits
from nas.errors import UserError, unknown


@dataclass(frozen=True)
class DeviceSheet:
    """A device as its data sheet (`source`, an address) has it.

    `flash_bytes` and `ram_bytes` are the whole memory, of RAM the largest part in one piece: the
    program and its stack take their share of both. `macs_per_cycle` is the most that one core's
    instructions do with int8.
    """

    name: str
    core: str
    source: str
    flash_bytes: int
    ram_bytes: int
    clock_hz: int
    macs_per_cycle: float

    @property
    def limits(self) -> Limits:
        """The limits that no network on the device can break.

        Parameters fill the flash, activations the RAM, a byte each; peak activation memory is
        counted in float32, which takes four times that. An image takes a second at most.
        """
        return Limits(
            macs=round(self.clock_hz * self.macs_per_cycle),
            params=self.flash_bytes,
            peak_activation_bytes=BYTES_PER_ELEMENT * self.ram_bytes,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the device and its limits as plain data."""
        return {**vars(self), "limits": self.limits.to_json()}


@cache
def names() -> tuple[str, ...]:
    """Return the devices' names: those of the files, with hyphens."""
    files = (entry.name for entry in resources.files(__name__).iterdir())
    found = (name.removesuffix(".toml") for name in files if name.endswith(".toml"))
    return tuple(sorted(name.replace("_", "-") for name in found))


def get(name: str) -> DeviceSheet:
    """Read a device's file; raises UserError for a name without one."""
    if name not in names():
        raise UserError(unknown("device", name, names()))
    text = resources.files(__name__).joinpath(f"{name.replace('-', '_')}.toml").read_text()
    return DeviceSheet(**tomllib.loads(text))
