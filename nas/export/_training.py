"""The training script of a package: plain PyTorch that does what a recipe says.

Losses, schedules, optimisers, the moving average and changes of images are the trainer's own
source, taken as the blocks' is for `model.py`; `_plain_changes` stands in for kornia. A setting
that the script neither does nor names among its differences is refused.
"""

import ast
import re
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import fields
from types import ModuleType
from typing import Any

from nas.errors import UserError
from nas.export import _plain_changes as plain_changes
from nas.export._definitions import Definitions, docstring_text
from nas.pruners.ladder import Rung
from nas.training import (
    batch_norm,
    changes,
    images,
    losses,
    optimisers,
    policies,
    regularisation,
    schedules,
    trainer,
)
from nas.training.adaptation import GAP
from nas.training.augmentations import OPERATIONS, Augmentation
from nas.training.metrics import words
from nas.training.recipe import Recipe, declared

WIDTH = 100
MODEL = ".model"
OF_MODEL = (
    "CLASS_NAMES", "CLASSES", "MEAN", "Network", "RESOLUTION", "STD", "answers",
    "normalise", "probabilities_of", "read_image",
)  # fmt: skip
OWN_NAMES = (
    "batches", "update", "train", "accuracy", "read_folder", "write_safetensors", "augmented",
    "main",
)  # fmt: skip

# Settings that the script reads, and those that decide which code it has, or model.py's.
READ = frozenset(
    {
        "epochs", "seed", "batch_size", "learning_rate", "weight_decay", "warmup_epochs",
        "label_smoothing", "ema_decay", "clip_norm", "class_balance", "epoch_updates",
        "focal_gamma", "logit_tau", "effective_beta", "balanced_sampling", "momentum",
        "decay_rate", "decay_epochs", "final_learning_rate", "dropout", "stochastic_depth",
        "batch_norm_momentum", "batch_norm_images",
    }
)  # fmt: skip
CHOSEN = frozenset(
    {
        "augmentation", "optimiser", "schedule", "loss", "class_weights", "answer", "version",
        "data", "fingerprint",
    }
)  # fmt: skip

# Settings that a script has at their neutral value alone, and those of the methods it has not.
REFUSED = frozenset({"method", "start", "layer_decay", "frozen_epochs"})
OF_METHODS = frozenset(
    {"teacher", "unlabelled"}
    | {name for name, setting in declared().items() if setting.group == "method"} - {"method"}
)

DIFFERENCES: Mapping[str, Callable[[Any], str]] = {
    "metric": lambda name: (
        f"After each epoch it prints the accuracy on the validation images; the search chose by "
        f"{words(name)}."
    ),
    "folds": lambda count: (
        f"The search scored {count} more networks, each on a fold of the images; this script trains"
        " the one that was handed over, on all images in `train`."
    ),
    "early_stopping": lambda epochs: (
        f"All epochs are trained; the search ended after {epochs} without a better score."
    ),
    "accumulation_steps": lambda count: (
        f"A batch is one piece, and batch norm sees it whole; the search summed the gradients of"
        f" {count} micro-batches."
    ),
    "ladder": lambda rungs: (
        "All epochs see all images at full size; in the search the first saw less:"
        f" {_rungs_in_words(rungs)}."
    ),
}
"""The settings that the script leaves out, each told by its value."""

AS_LAST = (
    "Images are changed as much as in the last epoch of the training that was handed over; before,"
    " that followed from what the network had learnt and how much it over-fitted."
)

OPERATION_CODE: Mapping[str, Callable[[Augmentation], list[str]]] = {
    "_affine": lambda s: [_affine(s)],
    "_flip": lambda _: ['change.move(mirrored(change, "xx"))'],
    "_vertical_flip": lambda _: ['change.move(mirrored(change, "yy"))'],
    "_colours": lambda s: [
        f"change.recolour({words.format(s[name])})"
        for name, words in (
            ("contrast", "factor=change.uniform(1 - {0}, 1 + {0})"),
            ("brightness", "summand=change.uniform(-{0}, {0})"),
        )
        if name in s
    ],
    "_cutout": lambda s: [f"change.blank(square(change, {s['cutout']}))"],
    "_crop": lambda s: [
        f"area = (1 - {s['crop']}) ** 2", "change.move(window(change, (area, area), 1.0))"
    ],
    "_resized_crop": lambda s: [
        f"change.move(window(change, (1 - {s['resized_crop']}, 1.0), 4 / 3))"
    ],
    "_saturation": lambda s: [
        f"factor = change.uniform(1 - {s['saturation']}, 1 + {s['saturation']}).to(x.device)",
        "change.repaint(lambda pixels: saturated(pixels, factor))",
    ],
    "_hue": lambda s: [
        f"angle = math.tau * change.uniform(-{s['hue']}, {s['hue']}).to(x.device)",
        "change.repaint(lambda pixels: hued(pixels, angle))",
    ],
    "_grayscale": lambda s: [
        f"gray = (change.uniform(0, 1) < {s['grayscale']}).to(x.device)",
        "change.repaint(lambda pixels: grayed(pixels, gray))",
    ],
    "_blur": lambda s: [
        f"sigma = change.uniform(0, {s['blur']} * RESOLUTION).clamp(min=1e-3).to(x.device)",
        f"reach = min(math.ceil(2 * {s['blur']} * RESOLUTION), (RESOLUTION - 1) // 2)",
        "change.repaint(lambda pixels: blurred(pixels, sigma, reach))",
    ],
    "_randaugment": lambda s: [
        f"change.repaint(lambda pixels: rand_augment(pixels, {_randaugment(s)}))"
    ],
    "_trivialaugment": lambda _: ["change.repaint(trivial_augment)"],
    "_autoaugment": lambda _: ["change.repaint(auto_augment)"],
}  # fmt: skip
"""The lines of an augmentation, by the function that makes it for the trainer."""

_HOMES = {
    **dict.fromkeys(("Change", "window", "mix"), changes),
    **dict.fromkeys(("rand_augment", "trivial_augment", "auto_augment"), policies),
    **dict.fromkeys(
        ("affine", "mirrored", "square", "saturated", "hued", "grayed", "blurred"), plain_changes
    ),
    "most_at_once": images,
}
_FOR_KORNIA = dict.fromkeys(("_gray", "_posterized", "_sharpened", "_equalized"), plain_changes)

SCRIPT = '''
def batches(labels: Tensor, recipe: Recipe) -> Sequence[Tensor]:
    """Return an epoch's batches as indices, in a new order, of nearly equal size."""
    count = len(labels)
    wanted = recipe.epoch_updates * min(recipe.batch_size, count) or count
    passes = -(-wanted // count)
    {order}
    return order[:wanted].tensor_split(recipe.epoch_updates or max(1, count // recipe.batch_size))


def update(
    network: nn.Module,
    ema: nn.Module,
    optimiser: Optimizer,
    x: Tensor,
    targets: list[tuple[Tensor, float]],
    classes: Classes,
    recipe: Recipe,
    step: int,
) -> Tensor:
    """Update the weights, then their moving average; return the loss.

    x: (N, C, H, W). Each of the targets has labels (N,) and their share of the loss.
    """
    optimiser.zero_grad(set_to_none=True)
    half = x.device.type == "cuda" and torch.cuda.is_bf16_supported()
    with torch.autocast(x.device.type, torch.bfloat16, enabled=half):
        logits = network(x)
    loss = torch.zeros((), device=x.device)
    for labels, share in targets:
        loss = loss + share * {loss}(logits.float(), labels, classes, recipe)
    loss.backward(){clip}
    optimiser.step()
    update_ema(ema, network, min(recipe.ema_decay, (1 + step) / (10 + step)))
    return loss.detach()


def train(
    images: Tensor,
    labels: Tensor,
    recipe: Recipe = RECIPE,
    validation: tuple[Tensor, Tensor] | None = None,
) -> Network:
    """Train a new network on images (N, C, RESOLUTION, RESOLUTION), uint8, and labels (N,).

    Return the moving average of its weights, ready for inference. Accuracy on validation images
    is printed after each epoch.
    """
    torch.manual_seed(recipe.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = Network().to(device, memory_format=torch.channels_last){regularise}
    ema = copy.deepcopy(network).requires_grad_(False).eval()
    optimiser = {optimiser}(groups_of(network, recipe), recipe)
    counts = labels.bincount(minlength=CLASSES).float().clamp(min=1).to(device)
    classes = facts_of(counts, {weighting}(counts, recipe))
    step = 0
    for epoch in range(1, recipe.epochs + 1):
        order, total = batches(labels, recipe), 0.0
        network.train()
        for members in order:
            x = normalise(images[members].to(device))
            wanted = labels[members].to(device)
            {change}
            x = x.contiguous(memory_format=torch.channels_last)
            share = warmed_up({schedule}, recipe, step, len(order), {warmup})
            for group in optimiser.param_groups:
                group["lr"] = recipe.learning_rate * share
            loss = update(network, ema, optimiser, x, targets, classes, recipe, step)
            total += loss.item() * len(members)
            step += 1{refit}
        if not math.isfinite(total):
            raise SystemExit(f"The loss is {{total}} in epoch {{epoch}}; lower the learning rate.")
        told = f"epoch {{epoch}} of {{recipe.epochs}}: loss {{total / sum(map(len, order)):.4f}}"
        if validation is not None:
            told += f", validation accuracy {{accuracy(ema, *validation):.4f}}"
        print(told, flush=True)
    return ema


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of images (N, C, RESOLUTION, RESOLUTION) whose answer is their label."""
    device, right = next(network.parameters()).device, 0
    for some, wanted in zip(images.split(256), labels.split(256), strict=True):
        found = answers(probabilities_of(network(normalise(some.to(device)))))
        right += int((found.cpu() == wanted).sum())
    return right / len(labels)


def read_folder(folder: Path) -> tuple[Tensor, Tensor]:
    """Read the image files of a folder that has a folder for each class, with Pillow."""
    from PIL import Image

    known, images, labels = Image.registered_extensions(), [], []
    for index, name in enumerate(CLASS_NAMES):
        for path in sorted((folder / name).rglob("*")):
            if path.suffix.lower() in known and not path.name.startswith("."):
                images.append(read_image(str(path)))
                labels.append(index)
    if len(images) < 2:
        raise SystemExit(f"{{folder}} has no images of {{', '.join(CLASS_NAMES)}}")
    return torch.cat(images), torch.tensor(labels)


def write_safetensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a safetensors file: the header's length in 8 bytes, the header as JSON, the numbers."""
    header, numbers = {{}}, b""
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        dtype = {{torch.float32: "F32", torch.int64: "I64"}}[plain.dtype]
        begin = len(numbers)
        numbers += ctypes.string_at(plain.data_ptr(), plain.nbytes)
        place = [begin, len(numbers)]
        header[name] = {{"dtype": dtype, "shape": list(plain.shape), "data_offsets": place}}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + numbers)


def main() -> None:
    """Train on a folder of images, and write the weights."""
    parser = argparse.ArgumentParser(description="Train the network anew on a folder of images.")
    parser.add_argument("data", type=Path, help="has train/CLASS/ and maybe validation/CLASS/")
    parser.add_argument("--out", type=Path, default=Path("model.safetensors"))
    parser.add_argument("--epochs", type=int, default=RECIPE.epochs)
    parser.add_argument("--seed", type=int, default=RECIPE.seed)
    given = parser.parse_args()
    held_out = given.data / "validation"
    validation = read_folder(held_out) if held_out.is_dir() else None
    recipe = RECIPE._replace(epochs=given.epochs, seed=given.seed)
    network = train(*read_folder(given.data / "train"), recipe, validation)
    write_safetensors(network.state_dict(), given.out)


if __name__ == "__main__":
    main()
'''

IMPORTS = """\
import argparse
import copy
import ctypes
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
"""
ONCE = "order = torch.cat([torch.randperm(count) for _ in range(passes)])"
DRAWN = """\
classes, counts = labels.unique(return_counts=True)
    odds = counts.double() ** -recipe.balanced_sampling
    odds = odds[torch.searchsorted(classes, labels)]
    order = torch.multinomial(odds, passes * count, replacement=True)"""
CLIP = """
    nn.utils.clip_grad_norm_(network.parameters(), recipe.clip_norm)"""
REGULARISE = """
    regularise(network, recipe)"""
REFIT = """
        some = images[:: -(-len(images) // max(2, recipe.batch_norm_images))]
        parts = some.tensor_split(-(-len(some) // most_at_once(RESOLUTION)))
        refit_batch_norm(ema, (normalise(each.to(device)) for each in parts))"""
PLAIN = "targets = [(wanted, 1.0)]"
MIXED = """\
x, others, share = mix(x, {mixup}, {cutmix})
            targets = [(wanted, share), (wanted[others], 1 - share)]"""


def script(recipe: Recipe, of_model: Collection[str], package: str) -> str:
    """Return the text of a package's train.py; `of_model` are the names that its model.py has.

    Raises UserError for a setting that the script can't express.
    """
    check(recipe)
    given: dict[str, str | ModuleType] = {**dict.fromkeys(of_model, MODEL), **_FOR_KORNIA}
    given |= {"Recipe": "", "imagenet_policy": ""}
    definitions = Definitions(OWN_NAMES, "nas", given)
    augmented, body = _augmented(recipe.augmentation), _body(recipe)
    used = {node.id for node in ast.walk(ast.parse(augmented + body)) if isinstance(node, ast.Name)}
    for name, home in _HOMES.items():
        if name in used:
            definitions.add(home, name)
    for module, name in _taken(recipe):
        definitions.add(module, name)
    definitions.add_imports(ast.parse(IMPORTS))
    ours = ", ".join(name for name in OF_MODEL if name in used)
    definitions.add_imports(ast.parse(f"from {MODEL} import {ours}"))
    text = "\n".join([*definitions.texts.values(), body])
    policy = [_policy()] if "auto_augment" in definitions.texts else []
    sections = [
        _recipe_class(recipe, set(re.findall(r"\b(?:recipe|RECIPE)\.([a-z]\w+)", text))),
        *policy, *definitions.texts.values(), *([augmented] if augmented else []),
        body.strip("\n"),
    ]  # fmt: skip
    start = f"{_docstring(recipe, package)}\n{definitions.import_lines()}"
    return "\n\n\n".join([start, *sections]) + "\n"


def check(recipe: Recipe) -> None:
    """Raise UserError for a setting that a script can't express, by its name."""
    for each in fields(recipe):
        value = getattr(recipe, each.name)
        if each.name in REFUSED and value != each.default:
            raise UserError(f"The training script can't express the recipe's {each.name}: {value}.")
    if recipe.schedule == "plateau":
        raise UserError(
            "The training script can't express the schedule plateau, which follows the search's"
            " metric on the validation split."
        )
    for name in recipe.augmentation:
        make = OPERATIONS[name].make
        if make is not None and make.__name__ not in OPERATION_CODE:
            raise UserError(f"The training script can't express the augmentation {name}.")


def differences(recipe: Recipe) -> list[str]:
    """Return the sentences on what the script does otherwise than the training in the search."""
    usual = {each.name: each.default for each in fields(recipe)}
    told = [
        say(getattr(recipe, name))
        for name, say in DIFFERENCES.items()
        if name == "metric" or getattr(recipe, name) != usual[name]
    ]
    if GAP in recipe.augmentation:
        told.append(AS_LAST)
    return [
        "Orders of images and random changes are drawn alike, by other random numbers.",
        "Images are standardised by the mean and deviation of `model.py`, of the search's data.",
        *told,
    ]


def _taken(recipe: Recipe) -> Iterator[tuple[ModuleType, str]]:
    """Yield the definitions of the trainer that the body calls."""
    yield losses, "facts_of"
    yield losses, losses.WEIGHTINGS[recipe.class_weights].compute.__name__
    yield losses, losses.LOSSES[recipe.loss].compute.__name__
    yield schedules, "warmed_up"
    yield schedules, schedules.SCHEDULES[recipe.schedule].share.__name__
    yield optimisers, "groups_of"
    yield optimisers, optimisers.OPTIMISERS[recipe.optimiser].make.__name__
    yield trainer, "update_ema"
    if _is_regularised(recipe):
        yield regularisation, "regularise"
    if recipe.batch_norm_images:
        yield batch_norm, "refit_batch_norm"


def _is_regularised(recipe: Recipe) -> bool:
    momentum = recipe.batch_norm_momentum != 0.1  # torch's own
    return bool(recipe.dropout or recipe.stochastic_depth or momentum)


def _body(recipe: Recipe) -> str:
    """Return the functions that train, with the recipe's choices among functions."""
    schedule, strengths = schedules.SCHEDULES[recipe.schedule], recipe.augmentation
    mixup, cutmix = strengths.get("mixup", 0.0), strengths.get("cutmix", 0.0)
    mixed = MIXED.format(mixup=mixup, cutmix=cutmix) if mixup or cutmix else PLAIN
    changed = "x = augmented(x)\n            " if _operations(strengths) else ""
    return SCRIPT.format(
        order=DRAWN if recipe.balanced_sampling else ONCE,
        loss=losses.LOSSES[recipe.loss].compute.__name__,
        clip=CLIP if recipe.clip_norm else "",
        regularise=REGULARISE if _is_regularised(recipe) else "",
        optimiser=optimisers.OPTIMISERS[recipe.optimiser].make.__name__,
        weighting=losses.WEIGHTINGS[recipe.class_weights].compute.__name__,
        change=changed + mixed,
        schedule=schedule.share.__name__,
        warmup="0.0" if schedule.rises else "recipe.warmup_epochs",
        refit=REFIT if recipe.batch_norm_images else "",
    )


def _operations(strengths: Augmentation) -> list[str]:
    """Return the lines of all operations, in the trainer's order."""
    makers = dict.fromkeys(OPERATIONS[name].make for name in strengths)
    lines = [OPERATION_CODE[make.__name__](strengths) for make in makers if make is not None]
    return [line for part in lines for line in part]


def _augmented(strengths: Augmentation) -> str:
    """Return the function that changes a batch, or nothing where the recipe changes none."""
    lines = _operations(strengths)
    if not lines:
        return ""
    start = [
        "def augmented(x: Tensor) -> Tensor:",
        '    """Change each image of a standardised batch, (N, C, H, W), at random."""',
        "    change = Change(x, MEAN, STD)",
    ]
    return "\n".join([*start, *(f"    {line}" for line in lines), "    return change.result()"])


def _affine(strengths: Augmentation) -> str:
    shift = strengths.get("shift", 0.0)
    across, down = strengths.get("shift_x", shift), strengths.get("shift_y", shift)
    degrees, shear = strengths.get("rotation", 0.0), strengths.get("shear", 0.0)
    words = (
        f"degrees={degrees}, zoom={1 + strengths.get('scale', 0.0)}, shift=({across}, {down}),"
        f" shear={shear}"
    )
    return f"change.move(affine(change, {words}))"


def _randaugment(strengths: Augmentation) -> str:
    usual = OPERATIONS["randaugment_magnitude"].neutral
    magnitude = strengths.get("randaugment_magnitude", usual)
    shape = bool(strengths.get("randaugment_shape", False))
    return f"{int(strengths['randaugment'])}, {magnitude}, shape={shape}"


def _policy() -> str:
    """Return AutoAugment's pairs of operations as a literal, a line each."""
    from kornia.augmentation.auto.autoaugment.autoaugment import imagenet_policy

    rows = (", ".join(_triple(*each) for each in pair) for pair in imagenet_policy)
    return "\n".join(["imagenet_policy = [", *(f"    ({row})," for row in rows), "]"])


def _triple(name: str, odds: float, level: float | None) -> str:
    return f'("{name}", {odds}, {level})'


def _recipe_class(recipe: Recipe, read: set[str]) -> str:
    """Return the class of the recipe's values that the script reads, and its instance."""
    lines = ["class Recipe(NamedTuple):", '    """The values of the recipe."""']
    words = {name: setting.words for name, setting in declared().items()}
    for name in [each.name for each in fields(recipe) if each.name in read]:
        said = textwrap.wrap(words.get(name, "of all random numbers"), WIDTH - 6)
        value = getattr(recipe, name)
        lines += ["", *(f"    # {line}" for line in said)]
        lines.append(f"    {name}: {type(value).__name__} = {value!r}")
    return "\n".join([*lines, "", "", "RECIPE = Recipe()"])


def _docstring(recipe: Recipe, package: str) -> str:
    """Return the module's docstring: how to run it, the recipe, and what differs from it."""
    lines = [
        '"""Train the network of model.py anew, by the recipe that it was found with.',
        "",
        f"    python -m {package}.train DATA --out model.safetensors",
        "",
        *textwrap.wrap(
            "DATA has a folder `train`, and may have a folder `validation`; each has a folder of"
            " image files for each class. Reading them needs Pillow; `train(images, labels)` needs"
            " torch alone.",
            WIDTH,
        ),
        "",
        *textwrap.wrap(f"The recipe: {docstring_text(recipe.describe())}", WIDTH),
        "",
        "What differs from the training in the search:",
        "",
    ]
    for sentence in differences(recipe):
        lines += textwrap.wrap(f"- {docstring_text(sentence)}", WIDTH, subsequent_indent="  ")
    return "\n".join([*lines, '"""', ""])


def _rungs_in_words(ladder: tuple[Rung, ...]) -> str:
    return "; ".join(
        f"up to epoch {rung.epochs} {rung.data:.0%} of the images at {rung.resolution:.0%} of the"
        " size"
        for rung in ladder
    )
