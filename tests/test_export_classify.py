"""`python model.py IMAGE...`: the emitted file classifies image files as `nas predict` does."""

import csv
import io
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_export import FACTS, SMALL, trained
from test_pixels import png16, tiff16

import nas
from nas.data.dataset import resize
from nas.data.image_list import read_image
from nas.data.pixels import UNIT, PixelReading
from nas.export import Facts
from nas.export.python import export
from nas.training.targets import LabelTargets

NOISE = np.random.default_rng(0)
COLOURS = NOISE.integers(0, 256, (30, 20, 4), np.uint8)
DEEP = NOISE.integers(0, 5000, (30, 20), np.uint16)


def write(folder: Path, name: str, facts: Facts = FACTS) -> Path:
    """Export a network for gray images into a folder of this name."""
    return export(SMALL, trained(SMALL), folder / name, facts)


def run(
    code: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *files: object
) -> tuple[object, str, str]:
    """Run the file as a program; return the exit code, standard output and standard error."""
    monkeypatch.setattr("sys.argv", [str(code), *map(str, files)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(code), run_name="__main__")
    told = capsys.readouterr()
    return ended.value.code, told.out, told.err


def image_files(folder: Path) -> list[Path]:
    """Write images of 8 bits in the forms that files have."""
    alpha = Image.fromarray(COLOURS, "RGBA")
    upside_down = Image.Exif()
    upside_down[0x0112] = 6
    images = {
        "gray.png": alpha.convert("L"),
        "colour.png": alpha.convert("RGB"),
        "alpha.png": alpha,
        "gray_alpha.png": alpha.convert("LA"),
        "palette.gif": alpha.convert("RGB").convert("P"),
        "cmyk.jpg": alpha.convert("CMYK"),
        "one_bit.png": alpha.convert("1"),
    }
    for name, image in images.items():
        image.save(folder / name)
    alpha.convert("RGB").save(folder / "turned.jpg", exif=upside_down)
    return [folder / name for name in (*images, "turned.jpg")]


@pytest.mark.parametrize("several", [False, True], ids=["classes", "labels"])
def test_files_are_classified_as_nas_predict_classifies_them(
    several: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The same table: the file, its class or labels, the probability of each class."""
    facts = replace(FACTS, targets=LabelTargets()) if several else FACTS
    code, files = write(tmp_path, "best", facts), image_files(tmp_path)
    ended, out, err = run(code, monkeypatch, capsys, *files)
    assert (ended, err) == (None, "")
    rows = list(csv.reader(io.StringIO(out)))
    expected = list(csv.reader(nas.predict(str(code.parent), list(map(str, files))).lines()))
    assert [row[:2] for row in rows] == [row[:2] for row in expected]
    numbers, wanted = (
        np.array([row[2:] for row in table[1:]], float) for table in (rows, expected)
    )
    assert numbers == pytest.approx(wanted, abs=1e-5)  # both are written with six digits
    assert rows[0] == ["file", "class", *FACTS.class_names]


READINGS = {
    "plain": PixelReading(),
    "black": PixelReading(None, 0),
    "levels": PixelReading((100.0, 4000.0), 128),
    "shares": PixelReading(UNIT),
}


@pytest.mark.parametrize("name", READINGS)
def test_pixels_are_read_as_in_training(name: str, tmp_path: Path) -> None:
    """Every pixel is that of `nas`: alpha, palettes, turned photographs, levels of 16 bits."""
    reading, files = READINGS[name], image_files(tmp_path)
    if name == "levels":
        Image.fromarray(DEEP).save(tmp_path / "deep.png")
        Image.fromarray(DEEP.astype(np.float32)).save(tmp_path / "deep.tiff")
        files += [tmp_path / "deep.png", tmp_path / "deep.tiff"]
    if name == "shares":
        Image.fromarray((DEEP / 5000).astype(np.float32)).save(tmp_path / "share.tiff")
        files.append(tmp_path / "share.tiff")
    emitted = runpy.run_path(str(write(tmp_path, "best", replace(FACTS, reading=reading))))
    for file in files:
        expected = resize(read_image(file, 1, reading), SMALL.resolution)[None].transpose(
            0, 3, 1, 2
        )
        assert torch.equal(emitted["read_image"](str(file)), torch.tensor(expected)), file


@pytest.mark.parametrize("background", [None, 128])
def test_colours_of_16_bits_are_read_as_in_training(background: int | None, tmp_path: Path) -> None:
    """Every pixel of a 16-bit PNG or TIFF in colours, with alpha too, is that of `nas`."""
    levels = NOISE.integers(0, 5000, (30, 20, 4), np.uint16)
    levels[..., 3] *= 13
    for name, content in {
        "rgb.png": png16(levels[..., :3]), "rgba.png": png16(levels),
        "rgb.tif": tiff16(levels[..., :3]),
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(content)
    reading = PixelReading((9.0, 4000.0), background)
    facts = replace(FACTS, mean=(0.5,) * 3, std=(0.25,) * 3, reading=reading)
    colours = SMALL.at(in_channels=3)
    code = export(colours, trained(colours), tmp_path / "best", facts)
    emitted = runpy.run_path(str(code))
    for file in [*tmp_path.glob("*.png"), *tmp_path.glob("*.tif")]:
        expected = resize(read_image(file, 3, reading), SMALL.resolution)[None]
        found = emitted["read_image"](str(file))
        assert torch.equal(found, torch.tensor(expected.transpose(0, 3, 1, 2))), file


def test_a_wrong_file_ends_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No image, no file, too many bits, no weights, no training: exit code 2, no table."""
    code, (gray, *_) = write(tmp_path, "best"), image_files(tmp_path)
    Image.fromarray(DEEP).save(tmp_path / "deep.png")
    (tmp_path / "cut.png").write_bytes(gray.read_bytes()[:200])
    untrained = write(tmp_path, "untrained", Facts())
    alone = tmp_path / "model.py"
    alone.write_text(code.read_text())
    for program, file, reason in (
        (code, code, "cannot identify"),
        (code, tmp_path / "none.png", "No such file"),
        (code, tmp_path / "cut.png", "cut.png is no image"),
        (code, tmp_path / "deep.png", "the training images have 8"),
        (alone, gray, "weights are missing"),
        (untrained, gray, "was not trained"),
    ):
        ended, out, err = run(program, monkeypatch, capsys, gray, file)
        assert (ended, out, len(err.splitlines())) == (2, "", 1)
        assert reason in err
        assert err.startswith("model.py: ")


def test_without_pillow_the_file_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Torch alone is enough for all but image files, for which one line names Pillow."""
    code, (gray, *_) = write(tmp_path, "best"), image_files(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    ended, _, err = run(code, monkeypatch, capsys, gray)
    assert (ended, "pip install pillow" in err) == (2, True)
