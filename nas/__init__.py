"""Neural architecture search for efficient ConvNets.

The root is lazy: `import nas` costs nothing, and a verb's machinery (torch above all) is imported
when the verb is first used. The verbs are those of the command line; three have longer names here,
since `nas.cost`, `nas.export` and `nas.report` are where formulas, exporters and figures live.

    study = nas.search(space="mixconv", data="digits", target_flops=2e6, trials=24)
    model = study.best.build()

`nas.Client` and `nas.AsyncClient` do this on a server of `nas serve`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.commands.data import data_show
    from nas.commands.evaluate import evaluate
    from nas.commands.export import export_model
    from nas.commands.family import scale
    from nas.commands.networks import cost_of, latency_of, latency_table
    from nas.commands.predict import predict
    from nas.commands.priors import priors
    from nas.commands.proxies import compare_proxies
    from nas.commands.publish import publish
    from nas.commands.recipe import recipe_diff, recipe_show, recipes
    from nas.commands.report import compare, plot, report_study
    from nas.commands.search import resume, search
    from nas.commands.space import (
        space_diagram,
        space_preflight,
        space_sample,
        space_validate,
        spaces,
    )
    from nas.commands.studies import front, rescore, show, status, top
    from nas.commands.train import train
    from nas.service.client import AsyncClient as AsyncClient
    from nas.service.client import Client as Client

__version__ = "0.1.0"
__all__ = [
    "compare", "compare_proxies", "cost_of", "data_show", "evaluate", "export_model", "front",
    "latency_of", "latency_table", "plot", "predict", "priors", "publish", "recipe_diff",
    "recipe_show", "recipes", "report_study", "rescore", "resume", "scale", "search", "show",
    "space_diagram", "space_preflight", "space_sample", "space_validate", "spaces", "status", "top",
    "train",
]  # fmt: skip

_MODULES = {  # where the verbs are
    "data": ("data_show",),
    "family": ("scale",),
    "evaluate": ("evaluate",),
    "export": ("export_model",),
    "networks": ("cost_of", "latency_of", "latency_table"),
    "predict": ("predict",),
    "priors": ("priors",),
    "proxies": ("compare_proxies",),
    "publish": ("publish",),
    "report": ("compare", "plot", "report_study"),
    "recipe": ("recipe_diff", "recipe_show", "recipes"),
    "search": ("resume", "search"),
    "space": ("space_diagram", "space_preflight", "space_sample", "space_validate", "spaces"),
    "studies": ("front", "rescore", "show", "status", "top"),
    "train": ("train",),
}


_CLIENTS = ("AsyncClient", "Client")  # of the service


def __getattr__(name: str) -> Any:
    if name in _CLIENTS:
        return getattr(import_module("nas.service.client"), name)
    for module, verbs in _MODULES.items():
        if name in verbs:
            verb = getattr(import_module(f"nas.commands.{module}"), name)
            return import_module("nas.commands._options").checked(verb)
    raise AttributeError(f"module 'nas' has no attribute {name!r}; it has: {', '.join(__all__)}")
