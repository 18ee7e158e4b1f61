"""Registries: a file in a package's folder is a member, without an edit elsewhere."""

import sys
from pathlib import Path

import pytest

from nas import samplers
from nas.errors import UserError, unknown
from nas.registry import Registry


def test_a_new_file_is_a_new_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sampler is one file in the samplers' folder: it is listed, accepted and made by name."""
    (tmp_path / "newcomer.py").write_text(
        '"""A newcomer."""\n\nfrom nas.samplers.random import make\n\n__all__ = ["make"]\n'
    )
    monkeypatch.setattr(samplers, "__path__", [*samplers.__path__, str(tmp_path)])
    assert "newcomer" in samplers.names()
    samplers.check("newcomer")
    assert type(samplers.get("newcomer", 0)).__name__ == "RandomSampler"


def test_names_import_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names come from the folder alone; hyphens stand for underscores where people expect them."""
    folder = tmp_path / "registered"
    folder.mkdir()
    for name in ("__init__", "_private", "in_process", "local"):
        (folder / f"{name}.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    registry: Registry[object] = Registry("thing", "registered", hyphens=True)
    assert registry.names() == ["in-process", "local"]
    assert "registered.in_process" not in sys.modules
    assert registry.get("in-process") is sys.modules["registered.in_process"]
    with pytest.raises(UserError, match="Available: in-process, local"):
        registry.check("in_process")


MANY = [f"network_{number}" for number in range(40)]


@pytest.mark.parametrize(
    ("name", "available", "told"),
    [
        ("tpee", ["tpe", "nas"], "No it named 'tpee'. Did you mean 'tpe'? Available: nas, tpe."),
        ("x", ["tpe", "nas"], "No it named 'x'. Available: nas, tpe."),
        ("x", [], "No it named 'x'. Available: ."),
        ("x", MANY, "No it named 'x'. All 40: nas list."),
        (
            "netwerk_7",
            MANY,
            "No it named 'netwerk_7'. Did you mean 'network_7', 'network_37' or 'network_27'? "
            "All 40: nas list.",
        ),
    ],
)
def test_an_unknown_name_gets_the_closest(name: str, available: list[str], told: str) -> None:
    """Few names are listed; of many the three closest are, with the command that lists all."""
    assert unknown("it", name, available, listing="nas list") == told


def test_many_names_that_no_command_lists_are_listed() -> None:
    """The message is then the only place where they stand."""
    assert all(name in unknown("it", "x", MANY) for name in MANY)
