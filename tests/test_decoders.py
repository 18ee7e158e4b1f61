"""Images that Pillow does not know: arrays, .raw of a given shape, slices of scanners; 16 bits."""

import base64
import gzip
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nas import data
from nas.data import archive, decoders
from nas.data.dataset import DataSet
from nas.data.image_list import read_image
from nas.data.inspection import describe
from nas.data.pixels import PixelReading
from nas.errors import DataError, UnreadableImage, UserError

Levels = np.ndarray[Any, np.dtype[Any]]
Write = Callable[[Path, Levels], None]


# 24 x 16 pixels: the upper half red, the lower one green and blue; by pillow-heif 1.4.
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAXxtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAA"
    "AAAAAAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABoAABAAAAAAAAAHkAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAAB"
    "AABodmMxAAAAAA5waXRtAAAAAAABAAAA/GlwcnAAAADcaXBjbwAAAHVodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADw"
    "NgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQApQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbqrprm4CGgwIAA"
    "AAyAAAADAIRiAAEABkQBwXPBiQAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAAAChjbGFwAA"
    "AAGAAAAAEAAAAQAAAAAf///9gAAAAC////0AAAAAIAAAAQcGl4aQAAAAADCAgIAAAAGGlwbWEAAAAAAAAAAQABBYEC"
    "AwWEAAAAgW1kYXQAAAB1KAGvBPIbx4iAQlFUe/B6P/x79/4/zEuJyX5v//683/72Zhr2+6mHUYvNp27HfPXMmQ5alH"
    "DSr3/B4vpV0BrjN3Q9YfgPoKWcnPHzGhkjHw/hNd3fdVcKH814SIYF+U+AdnH6R1BeW47BBmcDnIBbkye/s13T"
)


def slices(kind: str = "uint16", high: int = 4000) -> list[Levels]:
    """Make levels of 9 x 6 pixels that use the range up to a number."""
    random = np.random.default_rng(0)
    return [random.integers(0, high + 1, (9, 6)).astype(kind) for _ in range(10)]


def written(root: Path, ending: str, write: Write, levels: list[Levels]) -> DataSet:
    """Write slices of two classes, and load them."""
    for number, each in enumerate(levels):
        path = root / "ab"[number % 2] / f"{number}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, each)
    return data.load(root, cache_dir=root.with_name("cache"))


def save_npy(path: Path, levels: Levels) -> None:
    """Write a .npy file."""
    np.save(path, levels)


def save_raw(path: Path, levels: Levels) -> None:
    """Write the bytes alone."""
    path.write_bytes(levels.astype("<u2").tobytes())


def save_dicom(path: Path, levels: Levels, **more: Any) -> None:
    """Write a slice as a scanner does, with tags that change."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    file = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    tags: dict[str, Any] = {
        "Rows": levels.shape[0], "Columns": levels.shape[1], "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 12,
        "HighBit": 11, "PixelRepresentation": 0, "PixelData": levels.astype("<u2").tobytes(),
        "SOPClassUID": meta.MediaStorageSOPClassUID, "SOPInstanceUID": "1.2.3",
    }  # fmt: skip
    for name, value in (tags | more).items():
        setattr(file, name, value)
    pydicom.dcmwrite(path, file, enforce_file_format=True)


def save_nifti(path: Path, levels: Levels) -> None:
    """Write a slice with x to the right and y up."""
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(levels[::-1].T[..., None].astype(np.int16), np.eye(4))
    nibabel.save(image, path)


def save_tiff(compression: str | None, mode: str = "I;16") -> Write:
    """Return what writes a TIFF of 16 bits."""

    def save(path: Path, levels: Levels) -> None:
        image = Image.fromarray(levels.astype("<u2"))
        if mode != "I;16":
            image = image.convert("I").convert(mode)
        image.save(path, "tiff", compression=compression)

    return save


def save_png(path: Path, levels: Levels) -> None:
    """Write a PNG of 16 bits."""
    Image.fromarray(levels.astype(np.uint16)).save(path, "png")


WRITERS: dict[str, tuple[str, Write]] = {
    "npy": (".npy", save_npy),
    "raw": (".raw", save_raw),
    "dicom": (".dcm", save_dicom),
    "nifti": (".nii", save_nifti),
    "nifti.gz": (".nii.gz", save_nifti),
    "png": (".png", save_png),
    **{f"tiff {name}": (".tif", save_tiff(name)) for name in
       (None, "tiff_lzw", "tiff_adobe_deflate", "packbits")},
    "tiff of floats": (".tif", save_tiff(None, "F")),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_one_image_in_every_format(name: str, tmp_path: Path) -> None:
    """Levels of 12 bits come out alike, upright, scaled by the train split's range, and told."""
    ending, write = WRITERS[name]
    (tmp_path / "raw.toml").write_text('shape = [9, 6]\ntype = "uint16"\n')
    levels = slices()
    found = written(tmp_path / "set", ending, write, levels)
    assert (found.in_channels, found.native_resolution) == (1, 9)
    low, high = found.reading.levels or (0, 0)
    assert f"levels {low:g} to {high:g} become 0 to 255" in describe(found)
    image = read_image(tmp_path / "set" / "a" / f"0{ending}", 1, PixelReading((0, 4000)))
    assert (np.asarray(image) == np.rint(levels[0] / 4000 * 255)).all()
    assert found.origin.left_out == {}


def test_eight_bits_and_colours_of_arrays(tmp_path: Path) -> None:
    """Arrays of 8 bits are taken as they are, gray or colour; of 16 bits colours are scaled."""
    colour = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    for levels, reading in ((colour, PixelReading()), (colour * np.uint16(257), None)):
        np.save(tmp_path / "x.npy", levels)
        image = read_image(tmp_path / "x.npy", 3, reading or PixelReading((0, 65535)))
        assert (np.asarray(image) == colour).all()
    found = written(
        tmp_path / "set", ".npy", save_npy, [each.astype(np.uint8) for each in slices()]
    )
    assert found.reading == PixelReading()


def test_the_shape_of_raw_files(tmp_path: Path) -> None:
    """The closest raw.toml counts; another one makes another set; archives keep it."""
    folder = tmp_path / "set"
    (tmp_path / "raw.toml").write_text("shape = [1, 1]")
    folder.mkdir()
    (folder / "raw.toml").write_text('shape = [9, 6]\ntype = "uint16"')
    first = written(folder, ".raw", save_raw, slices())
    assert first.origin.left_out == {}
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", folder)
    archive.unpack(Path(packed), tmp_path / "out", "packed.zip")
    again = data.load(tmp_path / "out", cache_dir=tmp_path / "other")
    assert again.fingerprint == first.fingerprint
    (folder / "raw.toml").write_text('shape = [6, 9]\ntype = "uint16"')
    other = data.load(folder, cache_dir=folder.with_name("cache"))
    assert other.fingerprint != first.fingerprint
    assert other.native_resolution == 9


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (None, r"A \.raw file needs a raw\.toml .* 0\.raw has none"),
        ("shape = [9, 7]", r"108 bytes, but \(9, 7\) of uint8 in raw\.toml are 63"),
        ("shape = [9, -6]", "rows, columns"),
        ("shape = [9]", "rows, columns"),
        ('shape = [9, 6]\ntype = "object"', "uint8, int8"),
        ("shape = [9, 6]\nsize = 3", "uint8, int8"),
        ("shape = ", r"raw\.toml: "),
    ],
)  # fmt: skip
def test_a_wrong_shape_of_raw_files(told: str | None, message: str, tmp_path: Path) -> None:
    """A shape that is missing, impossible or does not fit is told with an example."""
    (tmp_path / "set").mkdir()
    if told is not None:
        (tmp_path / "set" / "raw.toml").write_text(told)
    with pytest.raises(UserError, match=message):
        written(tmp_path / "set", ".raw", save_raw, slices())


def test_levels_of_dicom(tmp_path: Path) -> None:
    """Slope and intercept are applied, MONOCHROME1 is turned round, windows are not used."""
    pytest.importorskip("pydicom")
    levels, path = slices()[0], tmp_path / "x.dcm"
    save_dicom(path, levels, RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=1, WindowWidth=2)
    decoder = decoders.of(path.read_bytes())
    assert decoder is not None
    assert (decoder.levels(path.read_bytes())[0] == levels.astype(int) * 2 - 1000).all()
    save_dicom(path, levels, PhotometricInterpretation="MONOCHROME1")
    assert (decoder.levels(path.read_bytes())[0] == 4095 - levels.astype(int)).all()
    two = np.stack([levels, levels[::-1]]).astype("<u2").tobytes()
    save_dicom(path, levels, NumberOfFrames=2, PixelData=two)
    found, frames = decoder.levels(path.read_bytes())
    assert frames == 2
    assert (found == levels).all()
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(UnreadableImage, match=r"x\.dcm is not: "):
        read_image(path, 1, PixelReading((0, 4000)))


def test_a_volume_is_refused(tmp_path: Path) -> None:
    """Of a volume in NIfTI no slice is chosen; what gzip packs has to be NIfTI."""
    nibabel = pytest.importorskip("nibabel")
    path = tmp_path / "x.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)), path)
    with pytest.raises(UnreadableImage, match=r"the volume has \(4, 5, 6\)"):
        read_image(path, 1, PixelReading())
    path.write_bytes(gzip.compress(b"text"))
    with pytest.raises(UnreadableImage, match="no NIfTI file"):
        read_image(path, 1, PixelReading())


@pytest.mark.parametrize("name", ["npy", "dicom", "nifti", "nifti.gz"])
def test_within_the_limits(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More pixels than the limit are refused before they are decoded."""
    ending, write = WRITERS[name]
    path = tmp_path / f"x{ending}"
    write(path, slices()[0])
    monkeypatch.setenv("NAS_LIMITS", "pixels=50")
    with pytest.raises(UnreadableImage, match="54 pixels of one image, over the limit of 50"):
        read_image(path, 1, PixelReading((0, 4000)))


def test_arrays_that_lie(tmp_path: Path) -> None:
    """Objects, other shapes and headers that say more than there is are refused, none unpickled."""
    good = io.BytesIO()
    np.save(good, np.zeros((4, 4), np.uint8))
    for content, message in (
        (good.getvalue().replace(b"(4, 4)", b"(9, 9)"), "says that it has the shape"),
        (good.getvalue()[:-3], "says that it has the shape"),
    ):
        (tmp_path / "x.npy").write_bytes(content)
        with pytest.raises(UnreadableImage, match=message):
            read_image(tmp_path / "x.npy", 1, PixelReading())
    np.save(tmp_path / "x.npy", np.array([[{}]]), allow_pickle=True)
    with pytest.raises(UnreadableImage, match="holds Python objects"):
        read_image(tmp_path / "x.npy", 1, PixelReading())
    np.save(tmp_path / "x.npy", np.zeros((4, 4, 2)))
    with pytest.raises(UnreadableImage, match=r"needs the shape \(H, W\)"):
        read_image(tmp_path / "x.npy", 1, PixelReading())


def test_photographs_of_phones(tmp_path: Path) -> None:
    """HEIC is read in its colours, which stay when others are read; what is damaged is refused."""
    pytest.importorskip("pi_heif")
    path = tmp_path / "photo.HEIC"
    path.write_bytes(HEIC)
    pixels = read_image(path, 3, PixelReading())
    assert pixels.size == (24, 16)
    many = [read_image(path, 3, PixelReading()).tobytes() for _ in range(50)]
    assert set(many) == {pixels.tobytes()}
    for place, colour in (((12, 3), 0), ((3, 12), 1), ((20, 12), 2)):
        assert int(np.argmax(pixels.getpixel(place))) == colour
    for damaged in (HEIC[:-60], HEIC[:200], HEIC[:100] + bytes(40) + HEIC[140:]):
        path.write_bytes(damaged)
        with pytest.raises(UnreadableImage, match=r"photo\.HEIC"):
            read_image(path, 3, PixelReading())


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_ends_early(tmp_path: Path, progressive: bool) -> None:
    """It is refused although an end marker was put behind what is left; whole ones are read."""
    noise = np.random.default_rng(0).integers(0, 255, (48, 40, 3), dtype=np.uint8)
    kept = io.BytesIO()
    Image.fromarray(noise).save(kept, "JPEG", progressive=progressive)
    path, content = tmp_path / "x.jpg", kept.getvalue()
    path.write_bytes(content)
    assert read_image(path, 3, PixelReading()).size == (40, 48)
    for share in (0.5, 0.9):
        path.write_bytes(content[: int(share * len(content))] + b"\xff\xd9")
        with pytest.raises(UnreadableImage, match="rows of the image are missing"):
            read_image(path, 3, PixelReading())
    path.write_bytes(content + b"rubbish behind the end")
    assert read_image(path, 3, PixelReading()).size == (40, 48)


def test_a_package_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of DICOM names the package and the extra, once, before anything is decoded."""
    monkeypatch.setattr(decoders, "find_spec", lambda _: None)
    with pytest.raises(DataError, match=r"needs the package pydicom.*'nas\[medical\]'"):
        written(tmp_path / "set", ".dcm", lambda path, _: path.touch() or None, slices())
