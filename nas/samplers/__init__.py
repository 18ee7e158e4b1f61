"""The registry of samplers: one file per sampler, found by looking into this folder.

A sampler file has `make(seed, oracle)`, which returns an Optuna sampler; the oracle, where there is
one, tells what is known of networks before they are trained. The file's name is the sampler's name.
Looking up the names imports nothing.
"""

from typing import TYPE_CHECKING, Any, Protocol

from nas.registry import Registry

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from nas.samplers._oracle import Oracle
    from nas.search_space import SearchSpace

DEFAULT = "nas"


class Sampler(Protocol):
    """A sampler's file.

    `LEARNS` says whether proposals depend on scores. `OPENING` is the number of architectures near
    the target that a study tries before it asks the sampler; 0 where the sampler needs no scores,
    or draws its own first proposals.
    """

    LEARNS: bool
    OPENING: int

    def make(self, seed: int, oracle: "Oracle | None" = None) -> "BaseSampler":
        """Make the sampler."""


_registry: Registry[Sampler] = Registry("sampler", __name__)
names, check = _registry.names, _registry.check


def learns(name: str) -> bool:
    """Tell whether a sampler's proposals depend on scores."""
    return _registry.get(name).LEARNS


def opening(name: str) -> int:
    """Return how many architectures near the target come before a sampler's own proposals."""
    return _registry.get(name).OPENING


def get(name: str, seed: int, oracle: "Oracle | None" = None) -> "BaseSampler":
    """Make a sampler; raises UserError with the available ones."""
    return _registry.get(name).make(seed, oracle)


def propose(space: "SearchSpace", study: Any, sampler: "BaseSampler") -> dict[str, Any]:
    """Ask a sampler for one assignment before its trial exists; nothing is written.

    Optuna stores each parameter of `study.ask()` in a transaction of its own; a proposal made in
    memory lets the whole trial be stored in one.
    """
    from optuna.distributions import CategoricalDistribution
    from optuna.trial import TrialState, create_trial

    trial = create_trial(state=TrialState.RUNNING)
    relative = sampler.sample_relative(
        study, trial, sampler.infer_relative_search_space(study, trial)
    )
    values: dict[str, Any] = {}
    for parameter in space.parameters():
        if not parameter.is_active(values):
            continue
        value = relative.get(parameter.name)
        if len(parameter.choices) == 1:
            value = parameter.choices[0]
        elif parameter.name not in relative or value not in parameter.choices:
            distribution = CategoricalDistribution(parameter.choices)
            value = sampler.sample_independent(study, trial, parameter.name, distribution)
        values[parameter.name] = value
        trial.params = values  # some samplers look at what was chosen before
    return values


def expected(sampler: "BaseSampler") -> dict[str, Any]:
    """Return what a sampler expects of its last proposal, and why, as attributes of the trial."""
    found: dict[str, Any] = {}
    prediction = getattr(sampler, "last_prediction", None)
    if prediction is not None:
        found = {"predicted_mean": prediction.mean, "predicted_spread": prediction.spread}
    if learnt := getattr(sampler, "last_learnt", None):
        found["learnt_from"] = learnt
    return found
