"""The registry of zero-cost proxies: one file per proxy, found by looking into this folder.

A proxy looks at a network that was never trained and says what it promises. Its file has

- `measure(candidate)`, which returns one number, higher for what promises more, and trains nothing;
- `REPEATS`, how many initialisations are averaged;
- `NOT_FINITE`, what stands for an outcome that is not a finite number.

The file's name is the proxy's name. Looking up the names imports nothing. That proxies are worth
their little cost is not given: `nas proxies` compares them with macs and params on a study's own
trials. After Abdelfattah et al., Zero-Cost Proxies for Lightweight NAS, arXiv:2101.08134.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from nas.registry import Registry

if TYPE_CHECKING:
    from nas.proxies._candidate import Candidate

BASELINES = ("macs", "params")  # cost nothing and need no network: others have to beat them


class Proxy(Protocol):
    """What a proxy's file holds."""

    REPEATS: int
    NOT_FINITE: float

    def measure(self, candidate: "Candidate") -> float:
        """Return what an untrained network promises: higher is better."""


_registry: Registry[Proxy] = Registry("proxy", __name__)
names, check, get = _registry.names, _registry.check, _registry.get


def read(text: str | Sequence[str] | None) -> tuple[str, ...]:
    """Read names as people write them, "naswot,synflow"; none are none, twice is once."""
    parts = text.split(",") if isinstance(text, str) else text or ()
    wanted = tuple(dict.fromkeys(part.strip() for part in parts))
    for name in wanted:
        check(name)
    return wanted
