"""What a user would write without nas: Optuna over a timm ResNet's shape and its training.

python studies/one-hour/script.py DATA.npz RESULT.json --minutes 60 --max-flops 20e6

Two thirds of the time are for the search, the rest trains the best network with new seeds for three
times as long. The test split is looked at once, by the networks of the three seeds.
"""

import argparse
import json
import time

import kornia.augmentation as K
import numpy as np
import optuna
import torch
from fvcore.nn import FlopCountAnalysis
from sklearn.metrics import accuracy_score, roc_auc_score
from torch import nn
from torch.nn import functional as F

# timm imports torchvision, which wants these two operators and does not import beside a CPU torch.
library = torch.library.Library("torchvision", "FRAGMENT")
for operator in ("nms", "qnms"):
    library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from timm.models.resnet import BasicBlock, ResNet  # noqa: E402

BATCH = 64
ask = argparse.ArgumentParser()
ask.add_argument("data")
ask.add_argument("result")
ask.add_argument("--minutes", type=float, default=60)
ask.add_argument("--max-flops", type=float, default=20e6)
asked = ask.parse_args()
began = time.monotonic()

with np.load(asked.data, allow_pickle=False) as file:
    images = {s: torch.from_numpy(file[f"{s}_images"]) for s in ("train", "val", "test")}
    labels = {s: torch.from_numpy(file[f"{s}_labels"].reshape(-1)).long() for s in images}
images = {s: (x[:, None] if x.ndim == 3 else x.movedim(-1, 1)) / 255.0 for s, x in images.items()}
mean, std = images["train"].mean((0, 2, 3)), images["train"].std((0, 2, 3))
images = {s: (x - mean[:, None, None]) / std[:, None, None] for s, x in images.items()}
channels, classes = len(mean), int(labels["train"].max()) + 1


def network(p):
    """Build a ResNet for small images: the stem and the first stage keep the resolution."""
    model = ResNet(
        BasicBlock, [p["depth"]] * 4, in_chans=channels, num_classes=classes,
        channels=[p["width"] * 2**stage for stage in range(4)], stem_width=p["width"],
        stem_type="deep", drop_rate=p["drop"], drop_path_rate=p["drop_path"],
    )  # fmt: skip
    model.conv1[0].stride, model.maxpool = (1, 1), nn.Identity()
    return model


def scores(model, split):
    """Return accuracy and AUROC, as MedMNIST has them."""
    model.eval()
    with torch.inference_mode():
        chances = torch.cat([model(x).softmax(1) for x in images[split].split(512)]).numpy()
    truth, one = labels[split].numpy(), chances[:, 1] if classes == 2 else chances
    return accuracy_score(truth, chances.argmax(1)), roc_auc_score(truth, one, multi_class="ovr")


def train(p, epochs, seed, report=lambda *_: None):
    """Train a network and return it."""
    torch.manual_seed(seed)
    model = network(p)
    optimiser = torch.optim.AdamW(model.parameters(), p["rate"], weight_decay=p["decay"])
    steps = epochs * (len(labels["train"]) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, p["rate"], total_steps=steps)
    degrees, scale = 15 * p["strength"], (1 - 0.15 * p["strength"], 1 + 0.15 * p["strength"])
    change = K.RandomAffine(degrees, (0.1 * p["strength"],) * 2, scale, p=0.8)
    flip = K.RandomHorizontalFlip(p=p["flip"])
    for epoch in range(epochs):
        model.train()
        for batch in torch.randperm(len(labels["train"])).split(BATCH)[: steps // epochs]:
            logits = model(flip(change(images["train"][batch])))
            loss = F.cross_entropy(logits, labels["train"][batch], label_smoothing=p["smoothing"])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimiser.step()
            schedule.step()
        report(model, epoch)
    return model


def objective(trial):
    """Train one suggestion; its value is the mean of accuracy and AUROC on validation."""
    p = {
        "width": trial.suggest_categorical("width", [8, 12, 16, 24]),
        "depth": trial.suggest_int("depth", 1, 3),
        "flip": trial.suggest_categorical("flip", [0, 0.5]),
        "rate": trial.suggest_float("rate", 5e-4, 2e-2, log=True),
        "drop": trial.suggest_float("drop", 0, 0.4),
        "decay": trial.suggest_float("decay", 1e-4, 0.2, log=True),
        "drop_path": trial.suggest_float("drop_path", 0, 0.2),
        "strength": trial.suggest_float("strength", 0, 2),
        "smoothing": trial.suggest_float("smoothing", 0, 0.2),
    }
    macs = FlopCountAnalysis(network(p).eval(), images["val"][:1]).unsupported_ops_warnings(False)
    if macs.uncalled_modules_warnings(False).total() > asked.max_flops:
        raise optuna.TrialPruned
    trial.set_user_attr("values", p | {"macs": macs.total()})

    def report(model, epoch):
        trial.report(sum(scores(model, "val")) / 2, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    return sum(scores(train(p, epochs, 0, report), "val")) / 2


epochs = max(5, round(22 * len(labels["train"]) ** 0.5 * BATCH / len(labels["train"])))
study = optuna.create_study(
    direction="maximize", sampler=optuna.samplers.TPESampler(seed=0, multivariate=True),
    pruner=optuna.pruners.MedianPruner(n_warmup_steps=epochs // 3),
)  # fmt: skip
study.optimize(objective, timeout=60 * asked.minutes * 2 / 3)
best, models = study.best_trial.user_attrs["values"], []
while not models or (len(models) < 3 and time.monotonic() - began < 60 * asked.minutes):
    models.append(train(best, 3 * epochs, 1 + len(models)))
result = {"best": best, "trials": len(study.trials), "seconds": time.monotonic() - began}
for split in ("val", "test"):
    result[split] = [
        dict(zip(("accuracy", "auroc"), scores(m, split), strict=True)) for m in models
    ]
with open(asked.result, "w", encoding="utf-8") as file:
    json.dump(result, file, indent=1)
print(json.dumps(result, indent=1))
