"""Train one architecture under one recipe; stop, resume and score it.

An epoch depends on nothing but the recipe, its number and the state after the epoch before: all
random numbers are drawn from (seed, epoch). So a checkpoint needs no generator states, and on the
CPU a resumed training is the same bit for bit.

With folds an evaluation has a network for each fold, and one on all images whose weights are handed
over. They take turns, an epoch each, and their predictions are pooled; the rest is as for one
network.
"""

import copy
import functools
import logging
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from nas.architecture import Architecture
from nas.data import DataSet, Split
from nas.data.folds import part
from nas.errors import DiskFull, Diverged, Interrupted, OutOfMemory
from nas.network import build
from nas.training.adaptation import GAP, SEEN, next_share, weakened
from nas.training.augmentations import augmenter, mixer
from nas.training.batch_norm import refit_batch_norm
from nas.training.changes import Statistics
from nas.training.checkpoint import Checkpoints
from nas.training.images import (
    Indices,
    Material,
    channels_last,
    every_few,
    gather,
    most_at_once,
    shuffled,
    standardised,
)
from nas.training.losses import Classes, classes_of, share_of_loss, total_weights
from nas.training.memory import keep_freed_memory
from nas.training.methods import (
    METHODS,
    NO_AIDS,
    UNCHANGED,
    Aids,
    Appearance,
    Guide,
    MicroBatch,
    check_aids,
)
from nas.training.metrics import ERROR, FACTS, FIT, SHARE, epoch_metrics, gain
from nas.training.metrics.predictions import Predictions, pooled
from nas.training.optimisers import optimiser_of
from nas.training.recipe import Recipe, check_fits
from nas.training.regularisation import regularise
from nas.training.reports import gain_error
from nas.training.schedules import learning_rate
from nas.training.sources import Source
from nas.training.targets import targets_of
from nas.training.transfer import freeze, transfer

log = logging.getLogger("nas")
_FINITE_EVERY = 8  # steps between two checks of the loss: each check waits for a GPU


Mixed = list[tuple[Tensor, float]]
"""Labels of a batch and their share of it: one row, or two where images are mixed."""


@dataclass(frozen=True)
class EpochResult:
    """One epoch: loss on the augmented train images, metrics on the validation split or the folds.

    `epoch` counts from 1; `seconds` are of training and validation; `learning_rate` is the last
    step's. `restored` marks an epoch that was trained before and comes from the checkpoint.
    """

    epoch: int
    epochs: int
    train_loss: float
    metrics: dict[str, float]
    seconds: float
    learning_rate: float
    restored: bool = False


@dataclass(frozen=True)
class TrainResult:
    """The last epoch's validation metrics, all epochs' seconds, and the EMA of the weights.

    With folds the weights are the refit's; without a refit `state` is empty. `accumulation_steps`
    is the number of micro-batches in a batch.
    """

    metrics: dict[str, float]
    seconds: float
    state: dict[str, Tensor]
    accumulation_steps: int = 1


@dataclass
class TrainingState:
    """The state of a network's training: all of it goes into a checkpoint."""

    module: nn.Module
    ema: nn.Module
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    accumulation_steps: int
    guide: Guide

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """The trained parameters by name: the network's, then those of the method."""
        own = {f"method:{name}": tensor for name, tensor in self.guide.tensors.items()}
        named = [*self.module.named_parameters(), *own.items()]
        return {name: tensor for name, tensor in named if isinstance(tensor, nn.Parameter)}


def _no_space(error: DiskFull) -> None:
    raise error


@dataclass(frozen=True)
class Control:
    """A training's checkpoints, and the functions that hear of its epochs and may stop it.

    After each epoch a checkpoint is written, then `on_epoch` is called; its exceptions pass
    through. A resumed training first calls it again for the earlier epochs, marked `restored`.
    `should_stop` is asked before every batch. `on_full` is called when a checkpoint finds no
    space: where it returns, the checkpoint is tried again.
    """

    checkpoints: Checkpoints | None = None
    on_epoch: Callable[[EpochResult], None] = lambda _: None
    should_stop: Callable[[], bool] = lambda: False
    on_full: Callable[[DiskFull], None] = _no_space


ALONE = Control()  # no checkpoints, no listeners


def train(
    architecture: Architecture,
    data: DataSet,
    recipe: Recipe,
    *,
    control: Control = ALONE,
    accumulation_steps: int = 1,
    refit: bool = True,
    aids: Aids = NO_AIDS,
) -> TrainResult:
    """Train an architecture, from the checkpoint of the same training where there is one.

    Gradients are accumulated over at least `accumulation_steps` micro-batches of each batch: that
    needs less memory, and batch norm sees the micro-batches. A training that the recipe stops early
    is complete: its metrics and weights are the last epoch's, since the best of many epochs' scores
    is too good by their noise. Without a `refit` a recipe with folds has the same metrics, and no
    weights. `aids` are those that the recipe names. Raises Interrupted when the control says so,
    Diverged, OutOfMemory or UnreadableImage when this training can't go on, DiskFull without space
    for a checkpoint, UserError for aids that are not the recipe's, and for what its method can't
    do.
    """
    with _reported_out_of_memory(), torch.random.fork_rng(range(torch.cuda.device_count())):
        check_fits(recipe, data)
        check_aids(recipe, aids)
        torch.manual_seed(_seed(recipe.seed, 0))
        count = 1 if recipe.folds == 1 else recipe.folds + refit
        networks = [
            begin(_built(architecture, aids.start), recipe, accumulation_steps, aids)
            for _ in range(count)
        ]
        materials = functools.cache(
            lambda rung: gather(data, recipe, rung, architecture.resolution, refit=refit)
        )
        key = {"identity": architecture.id, "recipe": recipe.hash}
        history: list[EpochResult] = []
        if control.checkpoints is not None:
            history += _restore(networks, control.checkpoints, key)
        for earlier in history:
            control.on_epoch(replace(earlier, restored=True))
        for epoch in range(len(history) + 1, recipe.epochs + 1):
            if _stopped_early(_scores(history, recipe), recipe):
                break
            pairs = list(zip(networks, materials(recipe.rung(epoch)), strict=True))
            scores = _scores(history, recipe)
            last = history[-1].metrics if history else None
            share = next_share(recipe.augmentation, data, last)
            result = _epoch(pairs, recipe, epoch, scores, share, should_stop=control.should_stop)
            history.append(result)
            _save(networks, history, control, key)
            control.on_epoch(result)
    weights = networks[-1].ema.state_dict() if refit or recipe.folds == 1 else {}
    return TrainResult(
        history[-1].metrics,
        sum(result.seconds for result in history),
        {name: value.cpu().contiguous() for name, value in weights.items()},
        networks[0].accumulation_steps,
    )


def _built(architecture: Architecture, start: Source | None) -> nn.Module:
    """Return a new network, with the weights of the one that it starts from."""
    module = build(architecture)
    if start is not None:
        transfer(module, architecture, start)
    return module


def _stopped_early(scores: Sequence[float], recipe: Recipe) -> bool:
    """Tell whether the best of the epochs' scores is the recipe's patience ago."""
    best = scores.index(max(scores)) + 1 if scores else 0
    return 0 < recipe.early_stopping <= len(scores) - best


def _scores(history: Sequence[EpochResult], recipe: Recipe) -> list[float]:
    """Return the gain by the recipe's metric after each epoch: the higher, the better."""
    return [gain(recipe.metric, result.metrics[recipe.metric]) for result in history]


def predict(
    module: nn.Module,
    split: Split,
    resolution: int,
    mean: Statistics,
    std: Statistics,
    classes: Sequence[str] = (),
    answer: str = "likeliest",
) -> Predictions:
    """Return a module's predictions on a split, in evaluation mode and float32, on its device.

    `answer` is the recipe's rule.

    Raises Diverged when the network's output is not finite.
    """
    device = next(module.parameters()).device
    was_training = module.training
    module.eval()
    images = split.images(resolution)
    size = most_at_once(resolution)
    with torch.inference_mode():
        logits = torch.cat(
            [
                module(standardised(images[at : at + size], mean, std, device)).float().cpu()
                for at in range(0, len(images), size)
            ]
        )
    module.train(was_training)
    if not logits.isfinite().all():
        raise Diverged("The network's output is not finite any more.")
    return Predictions(logits.numpy(), split.labels, classes, answer=answer)


def begin(
    module: nn.Module, recipe: Recipe, accumulation_steps: int = 1, aids: Aids = NO_AIDS
) -> TrainingState:
    """Return the state before the first step, on a GPU where there is one."""
    keep_freed_memory()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module = module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    regularise(module, recipe)
    half = device.type == "cuda" and _amp_type() is torch.float16
    training = TrainingState(
        module,
        ema=copy.deepcopy(module).requires_grad_(False).eval(),
        optimiser=optimiser_of(module, recipe),
        scaler=torch.amp.GradScaler(device.type, enabled=half),
        accumulation_steps=max(accumulation_steps, recipe.accumulation_steps),
        guide=METHODS[recipe.method].begin(module, recipe, aids),
    )
    own = [each for each in training.guide.tensors.values() if isinstance(each, nn.Parameter)]
    if own:  # of batch norms, which do not decay
        training.optimiser.add_param_group({"params": own, "weight_decay": 0.0})
    return training


def _epoch(
    pairs: Sequence[tuple[TrainingState, Material]],
    recipe: Recipe,
    epoch: int,
    scores: Sequence[float],
    share: float,
    *,
    should_stop: Callable[[], bool],
) -> EpochResult:
    """Train each network for an epoch; score the ends of those that have validation images.

    `scores` are those of the epochs before, `share` is of the augmentation's strengths. A network
    that is not scored comes last, so that the random numbers of the others do not depend on it.
    """
    started = time.perf_counter()
    torch.manual_seed(_seed(recipe.seed, epoch))
    changed = replace(recipe, augmentation=weakened(recipe.augmentation, share))
    losses, fits, predictions = [], [], []
    for training, material in pairs:
        loss = _train_epoch(training, material, changed, epoch, scores, should_stop=should_stop)
        if material.validation is not None:
            losses.append(loss)
            predictions.append(_predict(training, material, material.validation, recipe.answer))
            if GAP in recipe.augmentation:
                some = part(material.train, every_few(material.members, SEEN))
                fits.append(FACTS["loss"].value(_predict(training, material, some, recipe.answer)))
    scored = pooled(predictions)
    metrics = epoch_metrics(scored, recipe.metric)
    if fits:
        metrics |= {FIT: statistics.fmean(fits), SHARE: share}
    ends_early = _stopped_early([*scores, gain(recipe.metric, metrics[recipe.metric])], recipe)
    if epoch == recipe.epochs or ends_early:
        metrics[ERROR] = gain_error(scored, recipe.metric)
    return EpochResult(
        epoch=epoch,
        epochs=recipe.epochs,
        train_loss=statistics.fmean(losses),
        metrics=metrics,
        seconds=time.perf_counter() - started,
        learning_rate=max(group["lr"] for group in pairs[0][0].optimiser.param_groups),
    )


def _predict(training: TrainingState, material: Material, split: Split, answer: str) -> Predictions:
    statistics = (material.mean, material.std)
    return predict(training.ema, split, material.resolution, *statistics, material.classes, answer)


def _train_epoch(
    training: TrainingState,
    material: Material,
    recipe: Recipe,
    epoch: int,
    scores: Sequence[float],
    *,
    should_stop: Callable[[], bool],
) -> float:
    """Train a network for an epoch and return its mean loss."""
    device = next(training.module.parameters()).device
    images = material.train.images(material.resolution)
    labels = torch.from_numpy(material.train.labels)
    classes = classes_of(material.labels, recipe, device)
    batches = _batches(material, recipe, epoch)
    change = augmenter(recipe.augmentation, material.mean, material.std)
    mixed, look = mixer(recipe.augmentation), Appearance(material.mean, material.std, change)
    total = torch.zeros((), device=device)
    training.module.train()
    if recipe.frozen_epochs:
        freeze(training.module, frozen=epoch <= recipe.frozen_epochs)
    for index, members in enumerate(batches):
        if should_stop():
            raise Interrupted(f"Stopped in epoch {epoch} of {recipe.epochs}.")
        x = standardised(images[members], material.mean, material.std, device)
        x, answers = change(x), labels[members].to(device)
        targets: Mixed = [(answers, 1.0)]
        if mixed is not None:
            x, others, share = mixed(x)
            targets = [(answers, share), (answers[others], 1 - share)]
        x = channels_last(x)
        step = (epoch - 1) * len(batches) + index
        rate = learning_rate(recipe, step, len(batches), scores)
        for group in training.optimiser.param_groups:
            group["lr"] = rate * group.get("share", 1.0)
        loss = train_step(training, x, targets, classes, recipe, step, look)
        total += loss * len(members)
        check = index % _FINITE_EVERY == 0 or index == len(batches) - 1
        if check and not total.isfinite():
            place = f"epoch {epoch}, step {index + 1}"
            raise Diverged(f"The training loss became {total.item()} in {place}.")
    if recipe.batch_norm_images:
        wanted = max(2, recipe.batch_norm_images)  # one image has no spread
        plain = images[every_few(material.members, wanted)]
        chunks = np.array_split(plain, -(-len(plain) // most_at_once(material.resolution)))
        refit_batch_norm(
            training.ema,
            (standardised(chunk, material.mean, material.std, device) for chunk in chunks),
        )
    return total.item() / sum(map(len, batches))


def _batches(material: Material, recipe: Recipe, epoch: int) -> list[Indices]:
    """Return the epoch's batches as indices of the train split."""
    members, share = material.members, recipe.rung(epoch).data
    updates = recipe.updates(len(members), share) if recipe.epoch_updates else 0
    batches = shuffled(
        material.train.labels[members],
        recipe.batch_size,
        updates=updates,
        balance=recipe.balanced_sampling,
    )
    return [members[batch] for batch in batches]


def train_step(
    training: TrainingState,
    x: Tensor,
    targets: Mixed,
    classes: Classes,
    recipe: Recipe,
    step: int,
    look: Appearance = UNCHANGED,
) -> Tensor:
    """Make one step of the optimiser and of the EMA; return the loss, detached.

    x: (N, C, H, W). The loss by labels is the sum over the targets of a share and the loss of these
    labels; the recipe's method makes the loss of it.
    """
    total = torch.zeros((), device=x.device)
    training.optimiser.zero_grad(set_to_none=True)
    for batch in _micro_batches(training, x, targets, classes, recipe, look):
        for loss in training.guide.losses(batch):
            training.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
    training.scaler.unscale_(training.optimiser)
    if recipe.clip_norm:
        parameters = training.parameters.values()
        nn.utils.clip_grad_norm_(parameters, recipe.clip_norm, foreach=True)
    training.scaler.step(training.optimiser)
    training.scaler.update()
    update_ema(training.ema, training.module, min(recipe.ema_decay, (1 + step) / (10 + step)))
    return total


def _micro_batches(
    training: TrainingState,
    x: Tensor,
    targets: Mixed,
    classes: Classes,
    recipe: Recipe,
    look: Appearance,
) -> Iterator[MicroBatch]:
    """Yield the parts of a batch that the network sees at once, with their part of its loss."""
    weights = [share / total_weights(labels, classes) for labels, share in targets]
    parts = max(1, min(training.accumulation_steps, len(x) // 2))  # one image has no spread
    chunks = zip(*(labels.tensor_split(parts) for labels, _ in targets), strict=True)
    for images, answers in zip(x.tensor_split(parts), chunks, strict=True):

        def loss(logits: Tensor, answers: tuple[Tensor, ...] = answers) -> Tensor:
            total = torch.zeros((), device=logits.device)
            for labels, weight in zip(answers, weights, strict=True):
                total = total + share_of_loss(logits, labels, classes, recipe, weight)
            return total

        share = len(images) / len(x)
        answer = functools.partial(_answer, training.module)
        yield MicroBatch(images, share, answer, loss, targets_of(answers[0]), look)


def _answer(module: nn.Module, x: Tensor, own: Mapping[str, Tensor] | None = None) -> Tensor:
    """Return a network's logits, with the tensors `own` in the place of those of their names."""
    on_gpu = x.device.type == "cuda"
    with torch.autocast(x.device.type, dtype=_amp_type() if on_gpu else None, enabled=on_gpu):
        logits: Tensor = module(x) if own is None else functional_call(module, dict(own), x)
    return logits.float()


@torch.no_grad()
def update_ema(ema: nn.Module, module: nn.Module, decay: float) -> None:
    """Move the EMA's weights and running statistics towards the module's."""
    averaged = [*ema.parameters(), *ema.buffers()]
    latest = [*module.parameters(), *module.buffers()]
    pairs = list(zip(averaged, latest, strict=True))
    floats = [(a, m) for a, m in pairs if a.is_floating_point()]
    torch._foreach_lerp_([a for a, _ in floats], [m for _, m in floats], 1 - decay)
    for a, m in pairs:
        if not a.is_floating_point():  # the count of batches
            a.copy_(m)


def _amp_type() -> torch.dtype:
    """Return bfloat16 where the GPU computes in it, else float16."""
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if native else torch.float16


def _seed(seed: int, epoch: int) -> int:
    """Mix a training's seed and an epoch's number into one generator's seed."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def _reported_out_of_memory() -> Iterator[None]:
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise OutOfMemory(str(error) or "Not enough memory.") from error
    except RuntimeError as error:
        if "allocate memory" not in str(error):  # how torch says it on the CPU
            raise
        raise OutOfMemory(str(error)) from error


def _tensors(training: TrainingState) -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor of the state, not a copy, by its name in a checkpoint."""
    for name, tensor in training.module.state_dict().items():
        yield f"module.{name}", tensor
    for name, tensor in training.ema.state_dict().items():
        yield f"average.{name}", tensor
    for name, tensor in training.guide.tensors.items():
        yield f"method.{name}", tensor
    for name, parameter in training.parameters.items():
        for key, tensor in training.optimiser.state[parameter].items():
            yield f"optimiser.{key}.{name}", tensor


def _prefix(index: int) -> str:
    """Return what the names of a network's tensors begin with in a checkpoint."""
    return f"{index}/" if index else ""


def _save(
    networks: Sequence[TrainingState],
    history: Sequence[EpochResult],
    control: Control,
    key: dict[str, str],
) -> None:
    if control.checkpoints is None:
        return
    state = {
        "key": key,
        "history": [asdict(result) for result in history],
        "scalers": [training.scaler.state_dict() for training in networks],
        "parts": networks[0].accumulation_steps,
    }
    tensors = {
        _prefix(index) + name: tensor.cpu()
        for index, training in enumerate(networks)
        for name, tensor in _tensors(training)
    }
    was_full = False
    while True:
        try:
            control.checkpoints.save(tensors, state, len(history))
            break
        except DiskFull as error:
            was_full = True
            control.on_full(error)
    if was_full:
        log.warning("there is space again")


def _restore(
    networks: Sequence[TrainingState], checkpoints: Checkpoints, key: dict[str, str]
) -> list[EpochResult]:
    """Take over the last checkpoint's state, if its key and networks are this training's.

    Returns its epochs. A checkpoint with a refit is also one without.
    """
    loaded = checkpoints.load()
    if loaded is None or loaded[1].get("key") != key:
        return []
    tensors, state = loaded
    scalers = state.get("scalers") or [state["scaler"]]  # of an older program
    if len(scalers) < len(networks):
        return []
    for index, (training, scaler) in enumerate(zip(networks, scalers, strict=False)):
        own = _prefix(index)
        mine = {name.removeprefix(own): t for name, t in tensors.items() if _is_of(name, own)}
        _restore_network(training, mine)
        if training.scaler.is_enabled():
            training.scaler.load_state_dict(scaler)
        training.accumulation_steps = max(training.accumulation_steps, state["parts"])
    return [EpochResult(**result) for result in state["history"]]


def _is_of(name: str, prefix: str) -> bool:
    return name.startswith(prefix) if prefix else "/" not in name


def _restore_network(training: TrainingState, tensors: Mapping[str, Tensor]) -> None:
    parameters = training.parameters
    for name, tensor in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "optimiser":
            moment, _, of = rest.partition(".")
            parameter = parameters[of]
            like = parameter if tensor.ndim else tensor  # the fused step counter is a scalar
            place = torch.empty_like(like, device=parameter.device)
            training.optimiser.state[parameter][moment] = place
    with torch.no_grad():
        for name, tensor in _tensors(training):
            tensor.copy_(tensors[name])
