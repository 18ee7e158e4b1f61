"""Neural architecture search for efficient ConvNets.

The root is lazy: `import nas` costs nothing, and a verb's machinery (torch above all) is imported
when the verb is first used. The verbs are those of the command line; two of them have longer names
here, since `nas.cost` and `nas.export` are where the formulas and the exporters live.

    study = nas.search(space="mixconv", data="digits", target_flops=2e6, trials=24)
    model = study.best.build()
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.commands.family import scale
    from nas.commands.networks import cost_of, latency_of, latency_table
    from nas.commands.studies import (
        compare_proxies,
        export_model,
        front,
        rescore,
        resume,
        search,
        show,
        space_diagram,
        space_preflight,
        space_sample,
        space_validate,
        spaces,
        status,
        top,
    )

__version__ = "0.1.0"
__all__ = [
    "compare_proxies", "cost_of", "export_model", "front", "latency_of", "latency_table", "rescore",
    "resume", "scale", "search", "show",
    "space_diagram", "space_preflight", "space_sample", "space_validate", "spaces", "status", "top",
]  # fmt: skip


_ELSEWHERE = {
    "cost_of": "nas.commands.networks",
    "latency_of": "nas.commands.networks",
    "latency_table": "nas.commands.networks",
    "scale": "nas.commands.family",
}


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(_ELSEWHERE.get(name, "nas.commands.studies")), name)
    raise AttributeError(f"module 'nas' has no attribute {name!r}; it has: {', '.join(__all__)}")
