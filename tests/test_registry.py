"""Registries: a file in a package's folder is a member, without an edit elsewhere."""

import sys
from pathlib import Path

import pytest

from nas import samplers
from nas.errors import UserError
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
