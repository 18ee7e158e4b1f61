"""The options of a search: said once, refused alike wherever they are given."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from search_kit import ROOT, write_inputs
from typer.testing import CliRunner

import nas
from nas.cli import app
from nas.cluster import head as heads
from nas.errors import UserError
from nas.study import options

# For each option a value that it can't have, and what else has to be given for it to count.
BAD: dict[str, list[tuple[Any, dict[str, Any]]]] = {
    "space": [("mixcov", {})],
    "data": [("https://" + "me:pw@host/x.npz", {}), ("s3://bucket/x.txt", {}), ("no/such", {})],
    "target_flops": [("many", {}), (0, {})],
    "target_latency": [("5 parsecs", {}), ("5ms", {"objective": "pareto"})],
    "objective": [("firm", {})],
    "w": [(0.5, {}), (float("nan"), {})],
    "max_flops": [("0", {})],
    "max_params": [("x", {})],
    "groups": [("patient(", {}), ("groups", {})],
    "resolution": [(0, {}), (20_000, {})],
    "latency_table": [("t.json", {}), ("t.json", {"target_latency": "5ms", "latency_batch": 2})],
    "latency_batch": [(0, {"target_latency": "5ms"}), (2, {})],
    "latency_seconds": [(0.5, {"target_latency": "5ms"}), (float("inf"), {})],
    "sampler": [("tpo", {})],
    "warm_start": [("perhaps", {})],
    "prefilter": [("naswott", {})],
    "features": [("macs,x", {}), ("naswot", {"sampler": "tpe"})],
    "recipe": [("shrot", {}), ("missing.toml", {})],
    "set": [("optimiser.lr=1", {}), ("loss.name=focul", {}), ("x", {})],
    "metric": [("acc", {})],
    "folds": [(0, {}), (-3, {})],
    "epochs": [(0, {}), (-3, {})],
    "pruner": [("mean", {})],
    "fidelity": [("images", {"pruner": "hyperband"}), ("data", {})],
    "reduction": [(1, {"pruner": "hyperband"}), (3, {"pruner": "median"})],
    "seed": [(-1, {}), (2**32, {})],
    "trials": [(0, {})],
    "time": [("soon", {})],
    "finalists": [(-1, {}), ("few", {})],
    "final_seeds": [(0, {}), (101, {})],
    "no_finalists": [("perhaps", {})],
    "workers": [(-1, {}), (2, {"executor": "in-process"})],
    "executor": [("slurm", {})],
    "address": [("head:6379", {"executor": "local"})],
    "cpus_per_trial": [(0, {"executor": "ray"}), (1, {"executor": "local"})],
    "gpus_per_trial": [(1.5, {"executor": "ray"})],
    "max_concurrent": [(0, {"executor": "ray"})],
    "study": [("a/b", {}), ("", {})],
    "store": [("nas.db", {}), ("oracle://u:secret@h/d", {})],
    "out": [("s3://bucket/out", {})],
    "checkpoints": [("s3://key:secret@bucket", {}), ("nowhere://bucket", {})],
    "showcase": [("perhaps", {})],
}
CASES = [(name, value, others) for name, bad in BAD.items() for value, others in bad]


class FakeHead:
    """A head on this machine to which nothing may be sent."""

    address = "http://head:8265"

    def is_here(self) -> bool:
        """Return that it is."""
        return True

    def submit(self, *_: object) -> bool:
        """Fail."""
        raise AssertionError("sent")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder; a head answers from this machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NAS_STORE", raising=False)
    monkeypatch.setattr(heads.Head, "connect", lambda *_: FakeHead())
    return tmp_path


def refusal(*words: str) -> str:
    """Run a command that has to be refused as a user's mistake; return what it said."""
    ended = CliRunner().invoke(app, list(words))
    assert ended.exit_code == 2, ended.output + repr(ended.exception)
    assert ended.stdout == ""
    return re.sub(r"(?s)^Usage: .*?╭", "╭", ended.stderr)


def words_of(given: dict[str, Any]) -> list[str]:
    """Return options as the words of a command line."""
    flags = {name: options.declared()[name] for name in given}
    return [f"{flags[name].flag}={value}" for name, value in given.items()]


def toml(given: dict[str, Any]) -> str:
    """Return options as lines of a TOML file."""
    shown = {n: f'"{v}"' if isinstance(v, str) else v for n, v in given.items()}
    return "".join(f"{name} = {value}\n" for name, value in shown.items())


def test_every_option_has_a_bad_value() -> None:
    """The test below leaves no option out."""
    assert list(BAD) == list(options.declared())


@pytest.mark.parametrize(("name", "value", "others"), CASES)
def test_submit_refuses_what_search_refuses(
    name: str, value: Any, others: dict[str, Any], here: Path
) -> None:
    """In the same words, with exit code 2, on the command line and in a file; nothing is written.

    The default of `nas submit` is to run trials on Ray; the executor is the same for both here.
    """
    given = {"target_flops": "2M", "executor": "local"} | others
    given |= {"latency_seconds": 9} if name == "latency_seconds" else {}
    given = {**given, name: value}
    if name in ("target_latency",) or "target_latency" in others:
        del given["target_flops"]
    told = refusal("search", *words_of(given))
    assert refusal("submit", "--", "search", *words_of(given)) == told
    assert "secret" not in told
    assert "me:pw" not in told
    (here / "x.toml").write_text(toml(given))
    told = refusal("search", "--config", "x.toml")
    assert refusal("submit", "--", "search", "--config", "x.toml") == told
    assert told.startswith("nas: ")
    assert [path.name for path in here.iterdir()] == ["x.toml"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "--config is a TOML file; x.toml can't be read: "),
        ("trials = ", "--config is a TOML file; x.toml can't be read: "),
        ("trial = 3", "--config x.toml: No option named 'trial'. Did you mean 'trials'? Available"),
        ('trials = "3"', "--config x.toml: --trials is a whole number, not '3'."),
        ("trials = true", "--config x.toml: --trials is a whole number, not True."),
        ("sampler = 3", "--config x.toml: --sampler is text, not 3."),
        ("features = [1]", "--config x.toml: --features are names of proxies such as"),
        ("[budget]\ntrials = 3", "--config x.toml: No option named 'budget'."),
    ],
)
def test_a_file_of_options_is_checked(text: str | None, told: str, here: Path) -> None:
    """What can't be read, is unknown or of a wrong type is told with the file's name."""
    if text is not None:
        (here / "x.toml").write_text(text)
    assert refusal("search", "--config", "x.toml").startswith(f"nas: {told}")


def test_the_command_line_wins_over_the_file(here: Path) -> None:
    """Keys are written with - or _; what is given in words replaces what the file says."""
    (here / "x.toml").write_text('target-flops = "2M"\nmax_params = 5e6\nwarm-start = false\n')
    given = options.given("x.toml", {"target_flops": "3M", "warm_start": None, "seed": 4})
    read = options.read(given)
    assert (read.target_flops, read.max_params, read.warm_start) == (3_000_000, 5_000_000, False)
    assert (read.seed, read.trials) == (4, None)


def test_a_file_searches_and_its_values_are_sent(here: Path) -> None:
    """`--config` holds a whole search; `nas submit` sends what the file says, not its path."""
    from nas.cli.jobs import read_search
    from nas.cluster.package import pack

    space, data = write_inputs(here)
    (here / "x.toml").write_text(toml({"space": space, "data": data, "target-flops": 50000.0}))
    given = read_search(["search", "--config", "x.toml", "--seed", "3"])
    assert given == {
        "executor": "ray", "space": space, "data": data, "target_flops": 50000.0, "seed": 3
    }  # fmt: skip
    words = pack(given, here=True).words
    assert words[words.index("--target-flops") + 1] == "50000.0"
    assert "--config" not in words


def test_python_knows_the_options() -> None:
    """`nas.search` and `nas.resume` show the declared options in signature and docstring."""
    shown = list(inspect.signature(nas.search).parameters)
    assert shown == [*options.declared(), "say", "watch"]
    assert inspect.signature(nas.search).parameters["sampler"].default == "nas"
    assert set(options.resumable()) < set(inspect.signature(nas.resume).parameters)
    for name, option in options.declared().items():
        assert f"    {name}: {option.help}" in (nas.search.__doc__ or "")
    with pytest.raises(UserError, match=r"No option named 'trails'\. Did you mean 'trials'"):
        nas.search(target_flops="2M", trails=3)
    with pytest.raises(UserError, match="No option named 'sampler'"):
        nas.resume("x", sampler="tpe")


def test_every_name_stands_in_the_help() -> None:
    """Where the values of an option are names, its help lists them; proxies have a command."""
    for option in options.declared().values():
        names = list(option.names() if option.names and option.name != "prefilter" else ())
        assert [name for name in names if name not in option.help] == []


def test_the_documented_table_is_the_declaration() -> None:
    """docs/guides/searching.md has the table that nas.study.options.table() returns."""
    assert options.table() in (ROOT / "docs/guides/searching.md").read_text()


def test_the_version_is_printed() -> None:
    """`nas --version` says which this is."""
    assert CliRunner().invoke(app, ["--version"]).stdout == f"nas {nas.__version__}\n"
