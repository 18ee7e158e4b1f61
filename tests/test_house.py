"""The rules of the house: docstrings, imports that only go down, a wheel that stands alone."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from search_kit import ROOT

PACKAGE = [*sorted((ROOT / "nas").rglob("*.py")), *sorted((ROOT / "search_spaces").glob("*.py"))]
TESTS = sorted((ROOT / "tests").glob("*.py"))
LONGEST = 60  # lines of a function
# In parts, so that this file does not hold what it looks for.
FORBIDDEN = {
    "a path of one machine": re.compile(r"(?<![\w.<~-])/(?:home|Users|root|work|mnt)/\w"),
    "a package registry": re.compile(
        r"py" r"pi\.org|download\.py" r"torch|/sim" r"ple/|index[-_]url\s*[= ]\s*http"
    ),
    "a password in a URL": re.compile(r"https?://[^\s/@]+:[^\s/@]+@"),
}


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return every function in a file."""
    tree = ast.walk(ast.parse(path.read_text()))
    return [node for node in tree if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_every_test_says_what_it_holds() -> None:
    """Each test function has a docstring that states behaviour."""
    silent = [
        f"{path.name}: {function.name}"
        for path in TESTS
        for function in functions(path)
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ]
    assert silent == []


def waits_for_ever(node: ast.AST) -> bool:
    """Tell whether a call may wait for ever: for a process, for a thread, for a line."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    of, name = node.func.value, node.func.attr
    if isinstance(of, ast.Name) and (of.id, name) == ("subprocess", "run"):
        return "timeout" not in {keyword.arg for keyword in node.keywords}
    return name in {"communicate", "join", "readline", "wait"} and not (node.args or node.keywords)


def test_no_test_waits_without_a_limit() -> None:
    """Calls that wait have a timeout; `read_until` of the kit reads from a process."""
    waiting = [
        f"{path.name}, line {node.lineno}"
        for path in TESTS
        for node in ast.walk(ast.parse(path.read_text()))
        if waits_for_ever(node) and isinstance(node, ast.Call)
    ]
    assert waiting == []


def test_every_module_says_what_it_is_for() -> None:
    """Each module of the package and each file of spaces begins with a docstring."""
    assert [p for p in PACKAGE if not ast.get_docstring(ast.parse(p.read_text()))] == []


def test_functions_fit_in_the_eye() -> None:
    """No function of the package has more than 60 lines; migrations, which list tables, may."""
    long = [
        f"{path.relative_to(ROOT)}: {function.name}"
        for path in PACKAGE
        for function in functions(path)
        if (function.end_lineno or 0) - function.lineno >= LONGEST
        and path.parent.name != "versions"
    ]
    assert long == []


def test_the_house_has_few_rooms() -> None:
    """At most thirty files and folders lie directly under `nas/`; each folder says what it is."""
    inside = [path for path in (ROOT / "nas").iterdir() if path.name != "__pycache__"]
    rooms = [path for path in inside if path.name not in ("__init__.py", "py.typed")]
    assert len(rooms) <= 30
    folders = [path for path in rooms if path.is_dir()]
    assert all((folder / "__init__.py").is_file() for folder in folders)


def test_no_class_name_means_two_things() -> None:
    """Each class of the package has a name of its own."""
    places: dict[str, list[str]] = {}
    for path in PACKAGE:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_a_block_has_nine_arguments_at_most() -> None:
    """No constructor of a block's module has more than nine arguments."""
    wide = [
        f"{path.name}: {len(function.args.args) + len(function.args.kwonlyargs) - 1}"
        for path in sorted((ROOT / "nas" / "blocks" / "modules").glob("*.py"))
        for function in functions(path)
        if len(function.args.args) + len(function.args.kwonlyargs) > 10
    ]
    assert wide == []


def test_modules_of_networks_need_torch_alone() -> None:
    """A file of `nas/blocks/modules/` imports torch, the standard library and its neighbours."""
    folder = ROOT / "nas" / "blocks" / "modules"
    imported = {
        node.module if isinstance(node, ast.ImportFrom) else alias.name
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    assert "nas.blocks.modules.skip" in imported
    assert {
        name
        for name in map(str, imported)
        if not name.startswith("nas.blocks.modules.")
        and name.partition(".")[0] not in {"torch", *sys.stdlib_module_names}
    } == set()


def test_imports_only_go_down() -> None:
    """The floors of the house hold: import-linter keeps its contract."""
    code = "from importlinter.cli import lint_imports_command as lint; lint()"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert ended.returncode == 0, ended.stdout
    assert re.search(r"[1-9]\d* kept, 0 broken", ended.stdout)


def tracked() -> list[Path]:
    """Return the files that git tracks; skip where there is no git."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    found = (ROOT / name for name in listed.stdout.split("\0") if name)
    return [path for path in found if path.is_file()]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_nothing_of_one_machine_is_committed(what: str) -> None:
    """No tracked text file holds a machine's paths, a registry's address or a password."""
    found = []
    for path in tracked():
        try:
            lines = path.read_text().splitlines()
        except UnicodeDecodeError:  # a picture, weights
            continue
        found += [f"{path.relative_to(ROOT)}: {x}" for x in lines if FORBIDDEN[what].search(x)]
    assert found == []


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a wheel of what the image is built of and install it, alone, into a folder."""
    folder = tmp_path_factory.mktemp("wheel")
    sources = folder / "sources"
    sources.mkdir()
    for name in re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.M):
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, sources)
        else:
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, sources / name, ignore=ignored)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    recent = int(version("setuptools").partition(".")[0]) >= 77
    isolation = ["--no-build-isolation"] if recent else []  # an old one: pip fetches a newer
    build = [*pip, "wheel", "--no-deps", *isolation, "--wheel-dir", str(folder), str(sources)]
    subprocess.run(build, check=True, timeout=300)
    wheel = str(next(folder.glob("nas-*.whl")))
    target = folder / "installed"
    install = [*pip, "install", "--no-deps", "--no-index", "--target", str(target), wheel]
    subprocess.run(install, check=True, timeout=300)
    return target


def from_wheel(installed: Path, empty: Path, *words: str) -> str:
    """Run Python from an empty folder on the installed wheel; return what it printed."""
    ended = subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=empty,
        env=os.environ | {"PYTHONPATH": str(installed)},
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_wheel_has_one_package(installed: Path) -> None:
    """Nothing but `nas` lands in site-packages: all its files, no `tests`."""
    names = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert names - {"bin"} == {"nas"}
    lies = {"nas": installed / "nas", "search_spaces": installed / "nas" / "search_spaces"}
    missing = [
        path
        for path in tracked()
        for top, *below in [path.relative_to(ROOT).parts]
        if top in lies and not lies[top].joinpath(*below).is_file()
    ]
    assert missing == []


def test_the_wheel_works_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    """`nas cost mixnet_s` and `nas space list` work from the wheel, without the checkout."""
    where = from_wheel(installed, tmp_path, "-c", "import nas; print(nas.__file__)").strip()
    assert Path(where).is_relative_to(installed)
    cost = json.loads(
        from_wheel(installed, tmp_path, "-m", "nas.cli", "cost", "mixnet_s", "--json")
    )
    assert cost["params"] == 4_134_606
    spaces = json.loads(from_wheel(installed, tmp_path, "-m", "nas.cli", "space", "list", "--json"))
    assert {"mixconv", "mixnet_s"} <= {one["name"] for one in spaces}
    code = "from nas import data; print(data.load('digits').name)"
    assert from_wheel(installed, tmp_path, "-c", code).strip() == "digits"
    assert list(tmp_path.iterdir()) == []


def test_everything_public_has_a_name_that_resolves() -> None:
    """Every name of `nas.__all__` can be imported; the error for another name lists them."""
    import nas

    assert all(callable(getattr(nas, name)) for name in nas.__all__)
    with pytest.raises(AttributeError, match="it has: compare, compare_proxies"):
        _ = nas.no_such_verb
