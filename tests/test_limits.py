"""Input is read within stated limits, and whatever is wrong with it is one message."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from search_kit import ROOT, nas_here

from nas.errors import LONGEST, NasError, UserError, printable
from nas.files.limits import InputLimits, limits, words

ARCHITECTURE: dict[str, Any] = {
    "format": "nas.architecture/1", "in_channels": 3, "resolution": 32, "classes": 10,
    "stem": [{"block": "conv", "out_channels": 8}], "stages": [],
    "head": [{"block": "classifier", "out_channels": 10}],
}  # fmt: skip
MANY = {"choice": [1 + i / 1000 for i in range(300)]}


def space(stage: dict[str, Any] | None = None, **more: Any) -> str:
    """Return a small space as JSON, with changes."""
    stages = [{"block": {"block": "mbconv"}, "width": 8} | (stage or {})]
    return json.dumps({"format": "nas.search_space/1", "name": "s", "stages": stages} | more)


def scaled(*names: str) -> str:
    """Return a space with 300 values of these coefficients."""
    return space({"depth": {"choice": [1, 2]}}, scaling=dict.fromkeys(names, MANY))


BAD_JSON = {
    "deep": ("[" * 100_000, "nested too deeply"),
    "deep object": ('{"a":' * 900 + "1" + "}" * 900, "over the limit of 64"),
    "digits": ("9" * 5_000, "too many digits"),
    "digits that Python takes": (json.dumps(ARCHITECTURE).replace("32", "9" * 400), "400 digits"),
    "wide": (json.dumps(ARCHITECTURE).replace("8", "9" * 20), "from 1 to 1,000,000, not 999"),
    "long kernel": (space({"block": {"block": "conv", "kernels": "9" * 5_000}}), "odd kernel"),
    "long text": (space({"block": {"block": "mbconv", "se_ratio": "9" * 5_000}}), "0 to 32, not"),
    "alpha and phi": (scaled("alpha", "phi"), "90,000 combinations"),
    "beta and phi": (scaled("beta", "phi"), "90,000 combinations"),
    "gamma and phi": (scaled("gamma", "phi"), "90,000 combinations"),
    "options": (space({"width": {"choice": list(range(1, 20_000))}}), "at most 10,000 options"),
    "depths": (space({"depth": {"choice": list(range(1, 1001))}}), "1,000,002 widths, depths"),
    "widths": (
        space(stages=[{"block": {"block": "conv"}, "width": {"choice": list(range(1, 2000))}}] * 2),
        "combinations of widths",
    ),
    "stages": (space(stages=[{"block": {"block": "conv"}, "width": 8}] * 1001), "1,000 stages"),
    "layers": (
        space({"block": {"per_layer": {"choice": [{"block": "conv"}, {"block": "mbconv"}]}},
               "depth": 1000}),
        "10^300 assignments",
    ),
    "an escape of half a character": ('{"a": "\\ud800"}', "half a character"),
    "half a character": ('{"\ud800": 1}', "not text in UTF-8"),
    "terminal": (space(name="\x1b[2J"), r"not '\x1b[2J'"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_JSON)
def test_json_is_read_within_limits(case: str, tmp_path: Path) -> None:
    """Each verb that takes a JSON file refuses it at once, in one short printable message."""
    text, message = BAD_JSON[case]
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    verbs = ["cost"] if "architecture" in text else ["cost", "space validate"]
    for verb in verbs:
        ended = nas_here(*verb.split(), str(path))
        assert ended.returncode == 2, ended.stderr
        assert message in ended.stderr
        assert len(ended.stderr) < LONGEST + 10
        assert printable(ended.stderr) == ended.stderr
        assert "set_int_max" not in ended.stderr


@pytest.mark.parametrize(
    "line", ["cost x.json", "space validate x.json", "recipe show x.toml", "search --config x.toml"]
)
@pytest.mark.parametrize("kind", ["pipe", "folder", "large", "device"])
def test_only_files_of_a_limited_size_are_read(
    kind: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe, a folder, a device and a file over the limit are refused without being read."""
    monkeypatch.chdir(tmp_path)
    path = Path(line.split()[-1])
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        with path.open("wb") as file:
            file.truncate(10**10)
    ended = nas_here(*line.split())
    assert ended.returncode == 2
    assert re.search(r"not a file|over the limit of 8,388,608|No file x", ended.stderr)


@pytest.mark.parametrize(
    "text",
    [
        *("a = " + "[" * 5_000, "a = " + "{b=" * 80 + "1" + "}" * 80, "x = \x00"),
        *("seed = " + "9" * 400, "seed = " + "9" * 5_000),
    ],
)
def test_toml_is_read_within_limits(text: str, tmp_path: Path) -> None:
    """Depth and digits of a configuration and of a recipe are bounded."""
    path = tmp_path / "x.toml"
    path.write_text(text)
    for verb in (["search", "--config"], ["recipe", "show"]):
        ended = nas_here(*verb, str(path))
        assert ended.returncode == 2
        assert str(path) in ended.stderr


def test_limits_are_changed_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """NAS_LIMITS changes limits by name; a mistake in it is told."""
    monkeypatch.setenv("NAS_LIMITS", "pixels=200M, depth=3")
    assert (limits().pixels, limits().depth) == (200_000_000, 3)
    assert limits().members == InputLimits().members
    for wrong, message in (("pixel=1", "Did you mean 'pixels'"), ("pixels=-1", "at least 1")):
        monkeypatch.setenv("NAS_LIMITS", wrong)
        with pytest.raises(UserError, match=message):
            limits()


def test_limits_are_documented() -> None:
    """The guide has a row for each limit, with its default and what it counts."""
    guide = (ROOT / "docs" / "guides" / "data.md").read_text()
    for name, what in words().items():
        assert f"| `{name}` | {getattr(InputLimits(), name):,} | {what} |" in guide


def test_messages_are_short_and_printable() -> None:
    """Long values are cut in the middle; escapes of a terminal and bytes of a name are written."""
    told = str(NasError(f"Width: a number, not {'9' * 10**6!r}; \x1b[31m H\udcfcnd \u202e \ud800."))
    assert told.startswith("Width: a number, not '999")
    assert told.endswith(r"'; \x1b[31m H\xfcnd \u202e \ud800.")
    assert len(told) < 300
    assert len(str(NasError("a b " * 10**5))) <= LONGEST
