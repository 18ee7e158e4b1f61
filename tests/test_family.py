"""Families: the coefficients' space, members, the member nearest a target, their code."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from search_kit import arguments, nas_here, result
from strategies import architectures

from nas import network
from nas.architecture import Architecture
from nas.commands import family as family_commands
from nas.errors import Interrupted, SpaceError, UserError
from nas.search_space import coefficients as family
from nas.search_space import load
from nas.search_space.coefficients import PARAMETER, Rounding, coefficient_space, label
from nas.search_space.scaling import Coefficients
from tests.test_search import rows

EFFICIENTNET = (1.2, 1.1, 1.15)
ROUNDING = Rounding()


def mixnet() -> Architecture:
    """MixNet-S for small images and few classes: its stages are of unlike layers."""
    return load("mixnet_s").decode({}).at(resolution=32, classes=4)


@settings(max_examples=40, deadline=None)
@given(architectures())
def test_the_coefficients_space_holds_the_scaled_networks(architecture: Architecture) -> None:
    """Of any network: what a candidate's label decodes to is the network that it scales to."""
    tried = [
        Coefficients(*triple, 1) for triple in ((1.0, 1.0, 1.4), (2.0, 1.3, 1.0), EFFICIENTNET)
    ]
    try:
        space = coefficient_space("s", architecture, tried, ROUNDING)
    except SpaceError:  # the scaled widths do not allow a block's options
        return
    assert {parameter.name for parameter in space.parameters()} <= {PARAMETER}
    sizes = {"in_channels": architecture.in_channels, "classes": architecture.classes}
    for by in tried:
        decoded = space.decode({PARAMETER: label(by)}, **sizes)
        assert decoded == ROUNDING.scale(architecture, by)


def test_candidates_that_round_to_one_network_are_one() -> None:
    """It is the one whose product is nearest 2; every network that a candidate gives is there."""
    tried = [
        Coefficients(1.9, 1.001, 1, 1),
        Coefficients(2, 1.001, 1, 1),
        Coefficients(1, 1.4, 1, 1),
    ]
    found = family.distinct(tried, mixnet(), ROUNDING)
    assert set(found.values()) == set(tried[1:])
    assert set(found) == {ROUNDING.scale(mixnet(), by).id for by in tried}


def test_members_state_what_was_reached_beside_the_ideal() -> None:
    """The ratio is that of the counted macs; the ideal is (alpha beta^2 gamma^2)^phi."""
    one = family_commands.member(mixnet(), Coefficients(*EFFICIENTNET, 2), ROUNDING)
    assert one.cost == network.cost(one.architecture)
    assert one.ratio == one.cost.macs / network.cost(mixnet()).macs
    assert one.ideal_ratio == pytest.approx((1.2 * 1.1**2 * 1.15**2) ** 2)


def test_the_nearest_member_is_the_nearest_of_all() -> None:
    """No phi in hundredths up to 4 comes nearer to 40 M macs."""
    by = Coefficients(*EFFICIENTNET)
    found = family_commands.nearest(mixnet(), by, 40_000_000, ROUNDING)
    others = (
        family_commands.member(mixnet(), by._replace(phi=i / 100), ROUNDING) for i in range(400)
    )
    assert abs(found.cost.macs - 40_000_000) == min(abs(o.cost.macs - 40_000_000) for o in others)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coefficients": (1.2, 1.1, None)}, "each a number from 1 to 16; --gamma is missing"),
        ({"coefficients": (0.9, 1.1, 1.1)}, "--alpha is 0.9"),
        ({"coefficients": EFFICIENTNET, "phi": "0,x"}, "from 0 to 16 such as 0,1,2,3, not '0,x'"),
        ({"coefficients": EFFICIENTNET, "phi": "0,17"}, "--phi is numbers"),
        ({"coefficients": EFFICIENTNET, "divisor": 0}, "--divisor is a whole number of at least 1"),
        ({"coefficients": EFFICIENTNET, "target_flops": "1M"}, "--target-flops 1,000,000 is below"),
        ({"coefficients": EFFICIENTNET, "data": "digits"}, "--data is for a search of the"),
        ({"coefficients": EFFICIENTNET, "phi": "0", "target_flops": "1G"}, "give one of them"),
        ({"coefficients": EFFICIENTNET, "resolution": 10**8}, "--resolution is at most 16,384 px"),
        ({"data": "digits", "target_flops": "1M"}, "--target-flops 1,000,000 is below"),
        ({"data": "digits", "step": 0.0}, "--step is a number from 0.01 to 1, not 0"),
        ({}, "they are searched, which needs --data"),
        ({"data": "digits", "step": 2.0}, "--step is a number from 0.01 to 1, not 2"),
        ({"data": "digits", "step": 0.9, "tolerance": 0.001}, "give a smaller --step"),
        ({"data": "digits", "tolerance": 1.5}, "--tolerance is a number between 0 and 1"),
        ({"coefficients": EFFICIENTNET, "seeds": 2}, "--seeds is for the training of the members"),
        ({"coefficients": EFFICIENTNET, "train": True}, "--train trains the members, which needs"),
        ({"coefficients": EFFICIENTNET, "train": True, "epochs": 1}, "--epochs is for a search of"),
        ({"data": "digits", "train": True, "out": None}, "--train writes .* folder: give --out"),
    ],
)  # fmt: skip
def test_what_cannot_be_scaled_is_refused(
    options: dict[str, object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule, the value and what is valid; nothing is written."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        family_commands.scale("mixnet_s", **{"out": "family"} | options)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_source_is_refused_with_what_it_could_be(tmp_path: Path) -> None:
    """No member, no file, no study."""
    store = f"sqlite:///{tmp_path}/none.db"
    with pytest.raises(UserError, match=r"'mixnet_xs' is no family member .* no study"):
        family_commands.scale("mixnet_xs", coefficients=EFFICIENTNET, store=store)


def test_a_family_is_written_as_code_that_checks_itself(tmp_path: Path) -> None:
    """A folder for each phi: a file that states its own cost, and the network as data."""
    source = tmp_path / "source.json"
    source.write_text(json.dumps(mixnet().to_json()))
    found = family_commands.scale(
        str(source), coefficients=EFFICIENTNET, phi="0,1.5", out=str(tmp_path / "family")
    )
    assert [member.by.phi for member in found.members] == [0, 1.5]
    assert found.members[0].architecture == mixnet()
    for member in found.members:
        assert member.file is not None
        emitted = runpy.run_path(str(member.file))
        for stated, counted in emitted["check"](emitted["Network"]().eval()).values():
            assert stated == counted
        data = json.loads(member.file.with_name("architecture.json").read_text())
        assert Architecture.from_json(data) == member.architecture
        assert not member.file.with_name("model.safetensors").exists()
    written = json.loads((tmp_path / "family/family.json").read_text())
    assert [one["macs"] for one in written["members"]] == [m.cost.macs for m in found.members]
    assert (tmp_path / "family/family.png").read_bytes().startswith(b"\x89PNG")


def test_weights_in_the_way_are_kept(tmp_path: Path) -> None:
    """A folder that holds trained weights is refused before anything is written."""
    weights = tmp_path / "phi_1/model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"trained for days")
    with pytest.raises(UserError, match="phi_1 holds weights"):
        family_commands.scale("mixnet_s", coefficients=EFFICIENTNET, phi="0,1", out=str(tmp_path))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [weights]


def test_a_family_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    """No member of the old one stays beside the new one's table; other folders are refused."""
    source, out = tmp_path / "source.json", tmp_path / "family"
    source.write_text(json.dumps(mixnet().to_json()))
    for phis, expected in (("0,0.5", ["phi_0", "phi_0.5"]), ("0", ["phi_0"])):
        family_commands.scale(str(source), coefficients=EFFICIENTNET, phi=phis, out=str(out))
        assert sorted(path.name for path in out.glob("phi_*")) == expected
    assert sorted(path.name for path in out.iterdir()) == ["family.json", "phi_0"]
    with pytest.raises(UserError, match="a new folder, an empty one or a family's"):
        family_commands.scale(str(source), coefficients=EFFICIENTNET, phi="0", out=str(tmp_path))


def test_coefficients_are_searched_in_a_study_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every candidate is trained once and stored; the best is scaled; a second time is free."""
    result(nas_here("search", *arguments(tmp_path, workers=0), "--json"))
    store = ("--store", f"sqlite:///{tmp_path}/nas.db")
    line = ["scale", "tiny", *store, "--step", "0.5", "--tolerance", "0.2", "--workers", "0"]
    line += ["--resolution-multiple", "2", "--phi", "0,1", "--out", "family", "--json"]
    monkeypatch.chdir(tmp_path)
    found = result(nas_here(*line))
    tried = {label(by) for by in family.candidates(0.5, 0.2)}
    assert tried == {"1, 1, 1.5", "1, 1.5, 1", "2, 1, 1"}
    assert ", ".join(f"{factor:g}" for factor in found["coefficients"].values()) in tried
    status = result(nas_here("status", "--study", "tiny-scaling", *store, "--json"))
    assert (found["study"], status["trials"]["complete"]) == ("tiny-scaling", len(tried))
    assert status["best"]["architecture_id"] == found["members"][1]["architecture_id"]
    assert [Path(tmp_path, one["file"]).is_file() for one in found["members"]] == [True, True]
    assert status["trials"]["reused"] == 0
    assert result(nas_here(*line)) == found
    again = result(nas_here("status", "--study", "tiny-scaling", *store, "--json"))
    assert again["trials"]["complete"] == len(tried)


def test_members_are_trained_as_nas_train_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has weights, a study under the finalists' recipe, a look at test; a second time is free.

    Its weights are not overwritten by a family without any, or by another one.
    """
    monkeypatch.chdir(tmp_path)
    searched = arguments(tmp_path, workers=0, trials=1)
    result(nas_here("search", *searched, "--forbid", "flip,rotation", "--json"))
    store = ("--store", f"sqlite:///{tmp_path}/nas.db")
    line = ["scale", "tiny", *store, "--alpha", "1", "--beta", "1.5", "--gamma", "1"]
    line += ["--phi", "0,1", "--out", "family", "--workers", "0", "--json"]
    training = ("--train", "--seeds", "2", "--set", "training.epochs=3")
    found = result(nas_here(*line, *training))
    for member in found["members"]:
        trained = member["training"]
        assert trained["architecture_id"] == member["architecture_id"]
        assert (trained["seeds"], trained["test_looks"]) == (2, 1)
        assert set(trained["metrics"]) >= {"accuracy", "loss"}
        assert Path(member["file"]).with_name("model.safetensors").is_file()
    recipes = [json.loads(str(text)) for (text,) in rows(tmp_path, "SELECT json FROM nas_recipes")]
    trainings = [recipe for recipe in recipes if recipe["epochs"] == 3]
    assert sorted(recipe["seed"] for recipe in trainings) == [0, 1]
    assert not any({"flip", "rotation"} & recipe["augmentation"].keys() for recipe in trainings)
    assert Path("family/trained.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads(Path("family/family.json").read_text()) == found
    assert result(nas_here(*line, *training)) == found
    for others in ([], ["--phi", "0,2", *training]):
        refused = nas_here(*line, *others)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "phi_0 holds weights" in refused.stderr


def test_a_stopped_training_ends_the_family_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member that has no weights is the failure that the command tells; later ones are not begun.

    The same call trains the rest.
    """
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "source.json"
    source.write_text(json.dumps(mixnet().at(resolution=8).to_json()))
    how: dict[str, Any] = {
        "coefficients": (1.1, 1.0, 1.0), "phi": "0,1", "out": "family", "data": "digits",
        "train": True, "workers": 0, "set": ["training.epochs=1", "training.epoch_updates=1"],
    }  # fmt: skip

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    stopped = family_commands.scale(str(source), watch=interrupt, **how)
    assert len(stopped.trainings) == 1
    assert isinstance(stopped.failure, Interrupted)
    assert not list(tmp_path.glob("family/*/model.safetensors"))
    whole = family_commands.scale(str(source), **how)
    assert whole.failure is None
    assert len(list(tmp_path.glob("family/*/model.safetensors"))) == len(whole.trainings) == 2


def test_a_search_of_coefficients_cuts_kernels_that_do_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best candidate is found though it was trained with smaller kernels than it is scaled."""
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "source.json"
    source.write_text(json.dumps(load("mixnet_s").decode({}).at(resolution=8).to_json()))
    found = family_commands.scale(
        str(source), data="digits", step=0.5, tolerance=0.2, trials=1, epochs=1, workers=0,
        sampler="random", phi="0",
    )  # fmt: skip
    assert label(found.by) in {label(by) for by in family.candidates(0.5, 0.2)}
