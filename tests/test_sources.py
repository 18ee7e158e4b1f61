"""Sources: weights by their names and digests, of the store, of a folder, of timm."""

from dataclasses import replace
from pathlib import Path

import pytest
import referee
import timm_referee
import torch
from safetensors.torch import save_file
from search_kit import arguments, nas_here, result

from nas import network
from nas.errors import UserError
from nas.files import write_json
from nas.search_space import load
from nas.study.sources import resolve
from nas.training.sources import Source, keep, kept, read
from tests.test_formats import SMALL


def source(seed: int = 0) -> Source:
    """Return a small network with random weights."""
    return Source("small", SMALL, referee.calibrated(SMALL, seed).state_dict())


def images() -> torch.Tensor:
    """Return a few random images for the small network."""
    return torch.randn((3, 1, 8, 8), generator=torch.Generator().manual_seed(0))


def write(folder: Path, of: Source) -> None:
    """Write a source as nas train writes a network."""
    folder.mkdir()
    save_file(dict(of.state), folder / "model.safetensors")
    write_json(folder / "architecture.json", of.architecture.to_json())


def test_a_digest_is_of_the_content() -> None:
    """Equal weights have one digest, whatever their name; others, another architecture do not."""
    first = source()
    assert replace(first, name="other").digest == first.digest
    assert source(seed=1).digest != first.digest
    large = SMALL.at(resolution=16)  # has the same tensors
    assert Source("small", large, first.state).digest != first.digest


def test_a_kept_source_is_found_by_its_digest(tmp_path: Path) -> None:
    """Tensors and architecture are the same; a lost or damaged one is told by its digest."""
    first = source()
    keep(str(tmp_path), first)
    found = kept(str(tmp_path), first.digest)
    with torch.no_grad():
        assert torch.equal(found.build()(images()), first.build()(images()))
    with pytest.raises(UserError, match=r"0000.* are not in .* any more"):
        kept(str(tmp_path), "0" * 32)
    (file,) = tmp_path.rglob("*.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match="deleted or damaged"):
        kept(str(tmp_path), first.digest)


def test_folders_and_files_are_sources(tmp_path: Path) -> None:
    """A folder of nas train, one with a winner in best/, and the file itself are the same."""
    write(tmp_path / "best", source())
    names = [tmp_path, tmp_path / "best", tmp_path / "best" / "model.safetensors"]
    assert {resolve(str(name), None).digest for name in names} == {source().digest}


def test_a_wrong_file_is_refused(tmp_path: Path) -> None:
    """A file that is no safetensors, one without its network, and another network's."""
    (tmp_path / "weights.pt").write_bytes(b"pickle")
    (tmp_path / "empty.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"ends in .safetensors; .*weights.pt"):
        read(str(tmp_path / "weights.pt"))
    with pytest.raises(UserError, match=r"architecture.json is missing"):
        read(str(tmp_path / "empty.safetensors"))
    write(tmp_path / "out", source())
    write_json(tmp_path / "out" / "architecture.json", SMALL.at(classes=3).to_json())
    with pytest.raises(UserError, match="names or shapes differ"):
        read(str(tmp_path / "out"))


def test_a_trial_of_the_store_is_a_source(tmp_path: Path) -> None:
    """STUDY:TRIAL and STUDY have kept weights and their recipe; lost ones say how to get them."""
    few = {"trials": 1, "epochs": 1, "workers": 0}
    best = result(nas_here("search", *arguments(tmp_path, **few), "--json"))["best"]
    url = f"sqlite:///{tmp_path}/nas.db"
    found = resolve(f"tiny:{best['trial']}", url)
    assert found.architecture.id == best["architecture_id"]
    assert found.digest == resolve("tiny", url).digest
    assert found.trained_by is not None
    assert found.trained_by.epochs == 1
    for name in ("nothing", "tiny:99"):
        with pytest.raises(UserError, match=f"'{name}' names no weights; they are STUDY:TRIAL"):
            resolve(name, url)
    for file in tmp_path.rglob("weights.safetensors"):
        file.unlink()
    with pytest.raises(UserError, match=r"not kept.* nas train tiny:0"):
        resolve("tiny:0", url)


@pytest.mark.parametrize("name", ["mobilenetv2_100", "mixnet_s", "efficientnet_cc_b0_4e"])
def test_a_file_of_timm_is_a_source(name: str, tmp_path: Path) -> None:
    """Weights by timm's names give timm's answers."""
    theirs = timm_referee.calibrated(name, torch.randn(4, 3, 64, 64))
    state = {key: tensor.contiguous() for key, tensor in theirs.state_dict().items()}
    save_file(state, tmp_path / "theirs.safetensors")
    ours = resolve(f"timm:{name}@{tmp_path}/theirs.safetensors", None).build()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(ours(x), theirs(x), atol=1e-4)


def test_weights_that_timm_has_not_are_refused(tmp_path: Path) -> None:
    """Another network, one that timm can't say, one without a network to fetch it from."""
    save_file({"conv.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    for name, why in {
        "nothing": "No network named 'nothing'",
        f"mobilenetv2_100@{tmp_path}/other.safetensors": "no weights of timm's network",
        "mobilenetv2_100@weights.pt": r"ends in \.safetensors",
        "mobilenetv3_small_100": "timm's EfficientNet can't say",
    }.items():
        with pytest.raises(UserError, match=why):
            resolve(f"timm:{name}", None)


def test_without_a_network_timm_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the network, the cause and the way with a file."""

    def away(*_: object, **options: object) -> None:
        assert options == {"pretrained": True}
        raise ConnectionError("nobody answers")

    monkeypatch.setattr(timm_referee.timm(), "create_model", away)
    with pytest.raises(UserError, match=r"of mobilenetv2_100 .*nobody answers.*@FILE"):
        resolve("timm:mobilenetv2_100", None)


def test_a_source_needs_its_own_tensors() -> None:
    """Tensors of another network are refused, though they would load."""
    with pytest.raises(UserError, match="names or shapes differ"):
        Source("other", load("mobilenetv2_100").decode({}), network.build(SMALL).state_dict())
