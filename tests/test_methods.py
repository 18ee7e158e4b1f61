"""Training methods: each holds an identity, resumes bit for bit, leaves the network as it is."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_targets import write_chest
from test_training import TINY
from torch import Tensor
from torch.nn.functional import cross_entropy, interpolate
from training_kit import few_digits

from nas.architecture import Architecture, Row
from nas.data import DataSet, load
from nas.data.unlabelled import Unlabelled
from nas.errors import Interrupted, UserError
from nas.export import Exportable, python
from nas.export._training import check as check_script
from nas.network import build
from nas.training import trainer
from nas.training.checkpoint import Checkpoints
from nas.training.images import normalisation, standardised
from nas.training.losses import classes_of
from nas.training.methods import METHODS, Aids, Appearance, MicroBatch
from nas.training.methods.advprop import attacked
from nas.training.methods.distillation import divergence
from nas.training.methods.noisy_student import chosen
from nas.training.metrics import epoch_metrics
from nas.training.recipe import Recipe, check_fits
from nas.training.recipe_file import changed, read_word
from nas.training.recipes import compose
from nas.training.targets import ClassTargets, LabelTargets, Targets
from nas.training.teachers import Teacher
from nas.training.trainer import Control, TrainResult

CPU = torch.device("cpu")
DIGITS = few_digits()
LOOK = Appearance(*normalisation(DIGITS, 8))
# Nothing is drawn at random in it, and nothing in it depends on the other images of a batch.
CONVNEXT = Architecture(
    in_channels=1,
    resolution=8,
    classes=10,
    stem=(Row("patchify", 8, 2),),
    body=(Row("convnext", 8),),
    head=(Row("classifier", 10, 1, (("layer_norm", True),)),),
)
STEADY = replace(
    TINY,
    body=(Row("mbconv", 24, 2, (("expansion", 3), ("kernels", "3.5"))),),
    head=(Row("classifier", 10),),
)
CONDCONV = replace(STEADY, body=(Row("condconv", 16, 2), Row("condconv", 16)))
OTHERS = [name for name in METHODS if name != "plain"]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def recipe_of(method: str, data: DataSet = DIGITS, *, epochs: int = 2, **fields: Any) -> Recipe:
    """Return a short recipe with a method and the names of its aids."""
    recipe = compose(data, given={"epochs": epochs})
    named = {
        "teacher": "t" if METHODS[method].teaches else "",
        "unlabelled": "u" if method == "noisy_student" else "",
    }
    return replace(recipe, method=method, **named | fields)


def teacher(architecture: Architecture = STEADY, data: DataSet = DIGITS) -> Teacher:
    """Return a teacher with random weights, which are sure of little."""
    torch.manual_seed(5)
    size = architecture.resolution
    return Teacher(build(architecture), "t", size, *normalisation(data, size))


def aids_of(method: str) -> Aids:
    """Return the aids that `recipe_of` names; the images without labels are the test split's."""
    if not METHODS[method].teaches:
        return Aids()
    images = Unlabelled(DIGITS.splits["test"].images, "u", 360)
    return Aids(teacher(), images if method == "noisy_student" else None)


def trained(method: str, aids: Aids | None = None, **fields: Any) -> TrainResult:
    """Train the tiny network by a method."""
    recipe = recipe_of(method, **fields)
    return trainer.train(TINY, DIGITS, recipe, aids=aids_of(method) if aids is None else aids)


def same(first: TrainResult, second: TrainResult) -> bool:
    """Tell whether two trainings ended with the same weights to the last bit."""
    return all(torch.equal(tensor, second.state[name]) for name, tensor in first.state.items())


def images() -> tuple[Tensor, Tensor]:
    """Return 32 standardised images and their labels."""
    split = DIGITS.splits["train"]
    return standardised(split.images(8)[:32], LOOK.mean, LOOK.std, CPU), torch.from_numpy(
        split.labels[:32]
    )


def step(
    training: trainer.TrainingState, recipe: Recipe, number: int = 0
) -> tuple[Tensor, dict[str, Tensor]]:
    """Make a step on the images; return its loss and the parameters' gradients."""
    x, labels = images()
    classes = classes_of(DIGITS.splits["train"].labels, recipe, CPU)
    loss = trainer.train_step(training, x, [(labels, 1.0)], classes, recipe, number, LOOK)
    return loss, {
        name: p.grad.clone() for name, p in training.parameters.items() if p.grad is not None
    }


def begun(architecture: Architecture, recipe: Recipe, aids: Aids = Aids()) -> trainer.TrainingState:  # noqa: B008 - frozen
    """Begin to train a network whose weights are always the same."""
    torch.manual_seed(0)
    return trainer.begin(build(architecture), recipe, aids=aids)


@given(st.integers(0, 99), st.floats(0.1, 50.0), st.sampled_from([ClassTargets(), LabelTargets()]))
@settings(max_examples=30, deadline=None)
def test_a_student_that_agrees_with_its_teacher_has_nothing_to_learn(
    seed: int, temperature: float, targets: Targets
) -> None:
    """The divergence and its gradient vanish at every temperature; else it is above 0."""
    logits = 5 * torch.randn(6, 4, generator=torch.Generator().manual_seed(seed))
    student = logits.clone().requires_grad_()
    apart = divergence(student, logits, temperature, targets)
    apart.backward()
    assert apart.item() == pytest.approx(0, abs=1e-6)
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-6
    assert divergence(logits.flip(0), logits, temperature, targets) > 0


def test_the_divergence_is_the_papers() -> None:
    """It is sum p_T (log p_T - log q_T) of softmaxes at the temperature, the mean over images."""
    student, wanted = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0)).double()
    p, q = ((each / 3).exp() / (each / 3).exp().sum(1, keepdim=True) for each in (wanted, student))
    expected = (p * (p.log() - q.log())).sum() / 5
    assert divergence(student, wanted, 3.0, ClassTargets()).item() == pytest.approx(expected.item())
    p, q = (1 / (1 + (-each / 3).exp()) for each in (wanted, student))
    both = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    expected = both.mean()
    assert divergence(student, wanted, 3.0, LabelTargets()).item() == pytest.approx(expected.item())


def test_a_network_that_is_its_own_teacher_stays_as_it_is() -> None:
    """With no share for the labels a step of distillation has no loss and no gradient."""
    recipe = recipe_of("distillation", teacher_share=1.0)
    torch.manual_seed(0)
    itself = Teacher(build(CONVNEXT), "t", 8, LOOK.mean, LOOK.std)
    loss, gradients = step(begun(CONVNEXT, recipe, Aids(itself)), recipe)
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert max(each.abs().max() for each in gradients.values()) < 1e-6
    loss, gradients = step(begun(CONVNEXT, recipe, Aids(teacher(CONVNEXT))), recipe)
    assert loss > 1e-4
    assert max(each.abs().max() for each in gradients.values()) > 1e-4


def test_without_its_share_a_teacher_teaches_nothing() -> None:
    """At a share of 0 distillation is plain training, bit for bit; at its default it is not."""
    plain = trained("plain")
    assert same(plain, trained("distillation", teacher_share=0.0))
    assert not same(plain, trained("distillation"))


@pytest.mark.parametrize("method", ["distillation", "noisy_student"])
def test_a_student_learns_from_a_teacher_alone(method: str) -> None:
    """It answers as its teacher does where it could not know the labels: they are all wrong."""
    recipe = compose(DIGITS, given={"epochs": 12})
    result = trainer.train(STEADY, DIGITS, recipe)
    module = build(STEADY)
    module.load_state_dict(result.state)
    of = Teacher(module, "t", 8, LOOK.mean, LOOK.std)
    train = DIGITS.splits["train"]
    wrong = replace(train, labels=(train.labels + 1) % 10)
    splits = {**DIGITS.splits, "train": wrong}
    if method == "distillation":
        fields: dict[str, Any] = {"teacher_share": 1.0}
    else:
        fields = {"unlabelled_ratio": 8.0}
    without = Unlabelled(train.images, "u", len(train)) if method == "noisy_student" else None
    taught = trainer.train(
        STEADY, replace(DIGITS, splits=splits), recipe_of(method, epochs=12, **fields),
        aids=Aids(of, without),
    )  # fmt: skip
    assert taught.metrics["accuracy"] > 0.6 * result.metrics["accuracy"] > 0.4


def test_a_teacher_sees_images_of_its_own_size() -> None:
    """They are resized and standardised for it; at the student's size they are its own."""
    x, _ = images()
    larger = teacher(STEADY.at(resolution=16))
    resized = interpolate(x * LOOK.std[0] + LOOK.mean[0], (16, 16), mode="bilinear", antialias=True)
    expected = larger.module.eval()((resized - larger.mean[0]) / larger.std[0])
    assert torch.allclose(larger.logits(x, LOOK), expected, atol=1e-5)
    own = teacher()
    assert torch.equal(own.on(CPU).logits(x, LOOK), own.module.eval()(x))


def test_without_images_a_noisy_student_is_trained_plainly() -> None:
    """Bit for bit: with none, with a ratio of 0, and where the teacher is sure of none."""
    plain = trained("plain")
    assert same(plain, trained("noisy_student", Aids(teacher()), unlabelled=""))
    assert same(plain, trained("noisy_student", unlabelled_ratio=0.0))
    assert same(plain, trained("noisy_student", least_confidence=1.0))
    assert not same(plain, trained("noisy_student", least_confidence=0.0))


def test_pseudo_labels_are_balanced() -> None:
    """As many of each class that is there: the surest of many, few again and again."""
    probabilities = torch.tensor(
        [
            [0.9, 0.1, 0],
            [0.8, 0.2, 0],
            [0.7, 0.3, 0],
            [0.6, 0.4, 0],
            [0.45, 0.55, 0],
            [0.4, 0.3, 0.3],
        ]
    )
    recipe = recipe_of("noisy_student", least_confidence=0.5)
    assert chosen(probabilities, recipe).tolist() == [0, 1, 2, 4, 4, 4]
    assert chosen(probabilities, replace(recipe, pseudo_labels="all")).tolist() == [0, 1, 2, 3, 4]
    assert chosen(probabilities, replace(recipe, least_confidence=0.95)).tolist() == []


def test_a_noisy_students_loss_is_the_mean_over_all_images() -> None:
    """At a ratio of 3 the cross-entropy with the labels weighs 1/4, with the teacher's 3/4."""
    recipe = recipe_of(
        "noisy_student", least_confidence=0.0, unlabelled_ratio=3.0, label_smoothing=0.0
    )
    x, labels = images()
    one = Unlabelled(lambda size: np.full((1, size, size, 1), 77, np.uint8), "u", 1)
    of = teacher(CONVNEXT)
    training = begun(CONVNEXT, recipe, Aids(of, one))
    network = copy.deepcopy(training.module)
    wanted = of.probabilities(one.images(8))
    with torch.no_grad():
        unlabelled = network(standardised(one.images(8), LOOK.mean, LOOK.std, CPU))
        soft = -(wanted * unlabelled.log_softmax(1)).sum()
        hard = cross_entropy(network(x), labels)
    assert step(training, recipe)[0].item() == pytest.approx((hard + 3 * soft).item() / 4, rel=1e-5)


def test_without_reach_an_attack_changes_nothing() -> None:
    """At epsilon 0 a step has the loss and the gradients of plain training, bit for bit.

    Both batch norms see the same images: they have half of the gradient each, and stay equal.
    """
    plain = recipe_of("plain", clip_norm=0.0)
    recipe = recipe_of("advprop", epsilon=0.0, clip_norm=0.0)
    usual, training = begun(STEADY, plain), begun(STEADY, recipe)
    loss, expected = step(usual, plain)
    found_loss, found = step(training, recipe)
    assert torch.equal(found_loss, loss)
    names = {name.removeprefix("method:") for name in found if name.startswith("method:")}
    assert names
    for name, gradient in expected.items():
        if name in names:
            assert torch.equal(found[name], found[f"method:{name}"])
            assert torch.equal(found[name] + found[f"method:{name}"], gradient)
        else:
            assert torch.equal(found[name], gradient)
    for number in range(1, 4):
        step(training, recipe, number)
    network = training.module.state_dict()
    assert all(torch.equal(own, network[name]) for name, own in training.guide.tensors.items())


def test_an_attack_raises_the_loss_within_its_reach() -> None:
    """No pixel is changed by more than epsilon levels, and the changed images cost more."""
    recipe = recipe_of("advprop", epsilon=4.0, attack_steps=3, attack_step_size=2.0)
    training = begun(STEADY, recipe)
    x, labels = images()

    def loss(logits: Tensor) -> Tensor:
        return cross_entropy(logits, labels)

    def answer(pixels: Tensor, *_: object) -> Tensor:
        return training.module.eval()(pixels)

    batch = MicroBatch(x, 1.0, answer, loss, ClassTargets(), LOOK)
    found = attacked(batch, recipe, {})
    moved = (found - x).abs() * LOOK.std[0] * 255
    assert 3.9 < moved.max() <= 4 + 1e-4
    assert loss(answer(found)) > loss(answer(x))


def test_adversarial_images_leave_the_networks_batch_norms_alone() -> None:
    """Its running statistics are those of the images, the auxiliary ones' are others."""
    recipe = recipe_of("advprop", epsilon=32.0, attack_step_size=32.0)
    training = begun(STEADY, recipe)
    alone = copy.deepcopy(training.module)
    alone(images()[0])
    step(training, recipe)
    expected, network = alone.state_dict(), training.module.state_dict()
    means = [name for name in expected if name.endswith("running_mean")]
    assert means
    for name in means:
        assert torch.equal(network[name], expected[name])
        assert not torch.equal(training.guide.tensors[name], expected[name])


@pytest.mark.parametrize(("method", "architecture"), [("advprop", TINY), ("plain", CONDCONV)])
def test_an_exported_network_is_the_trained_one(
    method: str, architecture: Architecture, tmp_path: Path
) -> None:
    """Its weights are the main branch's alone, score as they were reported, and run as code."""
    recipe = recipe_of(method, epochs=1)
    result = trainer.train(architecture, DIGITS, recipe)
    assert result.state.keys() == build(architecture).state_dict().keys()
    module = build(architecture)
    module.load_state_dict(result.state)
    module.eval()
    validation = DIGITS.splits["validation"]
    scores = epoch_metrics(trainer.predict(module, validation, 8, LOOK.mean, LOOK.std))
    assert scores["accuracy"] == result.metrics["accuracy"]
    exported = python.load(python.write(Exportable(architecture, result.state), tmp_path).path)
    x, _ = images()
    with torch.no_grad():
        assert torch.allclose(exported(x), module(x), atol=1e-5)


@pytest.mark.parametrize("method", OTHERS)
def test_a_method_resumes_bit_for_bit(method: str, tmp_path: Path) -> None:
    """A training that is stopped in its second epoch ends as one that never stopped."""
    expected, asked = trained(method, epochs=3), iter(range(100))
    recipe = recipe_of(method, epochs=3)
    stopped = Control(Checkpoints(str(tmp_path)), should_stop=lambda: next(asked) == 6)
    with pytest.raises(Interrupted, match="epoch 2 of 3"):
        trainer.train(TINY, DIGITS, recipe, control=stopped, aids=aids_of(method))
    on = Control(Checkpoints(str(tmp_path)))
    assert same(trainer.train(TINY, DIGITS, recipe, control=on, aids=aids_of(method)), expected)


@pytest.mark.parametrize("method", OTHERS)
def test_a_method_goes_with_other_settings(method: str) -> None:
    """Micro-batches, mixed images, an ordinal loss, class weights and half the size train."""
    values: list[tuple[str, Any]] = [
        ("training.accumulation_steps", 3), ("augmentation.mixup", 0.4), ("loss.name", "ordinal"),
        ("loss.class_balance", 1.0), ("augmentation.randaugment", 2.0),
        ("regularisation.stochastic_depth", 0.2), ("optimiser.name", "sgd"),
    ]  # fmt: skip
    recipe = changed(recipe_of(method, epochs=1), dict(values))
    result = trainer.train(TINY, DIGITS, recipe, aids=aids_of(method))
    assert np.isfinite(result.metrics["loss"])


@pytest.mark.parametrize("method", ["distillation", "advprop"])
def test_images_of_several_labels_are_learnt(method: str, tmp_path: Path) -> None:
    """A label is a problem of two classes, in the teacher's answers as well."""
    chests = load(write_chest(tmp_path / "chest.npz"))
    network = STEADY.at(classes=4, resolution=14)
    aids = Aids(teacher(network, chests)) if METHODS[method].teaches else Aids()
    recipe = recipe_of(method, chests, epochs=1)
    assert np.isfinite(trainer.train(network, chests, recipe, aids=aids).metrics["loss"])


def test_noisy_student_is_for_one_class_an_image(tmp_path: Path) -> None:
    """A teacher's surest class says little where an image may have several labels."""
    chests = load(write_chest(tmp_path / "chest.npz"))
    with pytest.raises(UserError, match="The method noisy_student needs images of one class each"):
        check_fits(replace(compose(chests), method="noisy_student"), chests)


@pytest.mark.parametrize(
    ("method", "fields", "aids", "told"),
    [
        ("distillation", {"teacher": ""}, Aids(), "distillation needs a teacher: --teacher SOURCE"),
        ("plain", {"teacher": "t"}, Aids(), "A teacher is for the method distillation or noisy_"),
        ("advprop", {"unlabelled": "u"}, Aids(), "are for the method noisy_student, not for advp"),
        ("distillation", {}, Aids(), "The recipe learns from the teacher t; given: none"),
        ("distillation", {"teacher": "x"}, Aids(teacher()), "the teacher x; given: t"),
        ("noisy_student", {}, Aids(teacher()), "images without labels u; given: none"),
        ("distillation", {"folds": 3}, Aids(teacher()), "distillation needs training.folds = 1"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(
    method: str, fields: dict[str, Any], aids: Aids, told: str
) -> None:
    """Before the first update, by the rule's name and the values."""
    with pytest.raises(UserError, match=told):
        trained(method, aids, **fields)


def test_adversarial_images_need_batch_norm() -> None:
    """A network without batch norm is refused: nothing would keep both kinds of images apart."""
    with pytest.raises(UserError, match="this network has no batch norm"):
        trainer.train(CONVNEXT, DIGITS, recipe_of("advprop"))


@pytest.mark.parametrize("method", OTHERS)
def test_a_recipe_names_its_method(method: str) -> None:
    """By a key of a file; it says so, has another hash, and is refused by a training script."""
    usual = compose(DIGITS)
    recipe = compose(DIGITS, words=[f"method.name={method}"])
    assert recipe.hash != usual.hash
    assert recipe.to_json()["method"] == method
    assert len(recipe.describe()) > len(usual.describe())
    assert Recipe.from_json(recipe.to_json()) == recipe
    with pytest.raises(UserError, match=f"can't express the recipe's method: {method}"):
        check_script(recipe)


def test_an_unknown_method_is_refused() -> None:
    """By the names there are."""
    with pytest.raises(UserError, match=r"No method named 'advprob'\. Did you mean 'advprop'"):
        read_word("method.name=advprob", "--set")
