"""The options of a search: said once, refused alike wherever they are given."""

import inspect
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from search_kit import ROOT, write_inputs
from typer.testing import CliRunner

import nas
from nas.cli import app
from nas.cluster import head as heads
from nas.commands._options import parameters
from nas.errors import UserError
from nas.store.engine import parse
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
    "max_memory": [("much", {}), (0, {})],
    "target_device": [("stm32f747", {})],
    "groups": [("patient(", {}), ("groups", {})],
    "include": [("", {}), ("images", {})],
    "exclude": [("", {}), ("masks", {})],
    "resolution": [(0, {}), (20_000, {})],
    "latency_table": [("t.json", {}), ("t.json", {"target_latency": "5ms", "latency_batch": 2})],
    "latency_backend": [("onnx", {"target_latency": "5ms"}), ("torch", {})],
    "latency_host": [("-oX", {"target_latency": "5ms"}), ("pi@raspberrypi", {})],
    "latency_batch": [(0, {"target_latency": "5ms"}), (2, {})],
    "latency_seconds": [(0.5, {"target_latency": "5ms"}), (float("inf"), {})],
    "sampler": [("tpo", {})],
    "warm_start": [("perhaps", {})],
    "learn_from": [("", {}), ("s", {"sampler": "tpe"})],
    "prefilter": [("naswott", {})],
    "features": [("macs,x", {}), ("naswot", {"sampler": "tpe"})],
    "recipe": [("shrot", {}), ("missing.toml", {})],
    "set": [("optimiser.lr=1", {}), ("loss.name=focul", {}), ("x", {})],
    "start_from": [("weights.pth", {}), ("https://host/model.safetensors", {})],
    "inherit": [("perhaps", {})],
    "forbid": [("flips", {}), ("flip,", {}), ("randaugment_shape", {})],
    "teacher": [("s3://bucket/out", {}), ("weights.pth", {})],
    "unlabelled": [("", {"teacher": "s"}), ("images", {})],
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
    "gpus_per_trial": [(1.5, {"executor": "ray"}), (float("nan"), {"executor": "ray"})],
    "max_concurrent": [(0, {"executor": "ray"})],
    "study": [("a/b", {}), ("", {}), ("prior:cifar10", {})],
    "store": [("nas.db", {}), ("oracle://u:secret@h/d", {})],
    "out": [("s3://bucket/out", {})],
    "checkpoints": [("s3://key:secret@bucket", {}), ("nowhere://bucket", {})],
    "showcase": [("perhaps", {})],
    "track": [("tensorbord", {}), ("", {})],
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
        ("trial = 3", "--config x.toml: No option named 'trial'. Did you mean 'trials', "),
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
    with pytest.raises(TypeError, match=r"No argument of resume.. named 'sampler'"):
        nas.resume("x", sampler="tpe")


HUGE = [10**5000, 10**19, float("inf"), float("nan"), "9" * 400]


@pytest.mark.parametrize("value", HUGE, ids=["digits", "large", "inf", "nan", "text"])
def test_every_number_has_finite_limits(value: Any) -> None:
    """No option takes a number that is not finite, or too large for a database's whole number."""
    numbers = [
        name
        for name, option in options.declared().items()
        if not {int, float}.isdisjoint(option.types)
    ]
    assert len(numbers) > 15
    for name in numbers:
        with pytest.raises(UserError, match=rf"--{name.replace('_', '-')} "):
            options.read({name: value})


@pytest.mark.parametrize(
    ("given", "name", "read"),
    [
        ({"trials": np.int64(3)}, "trials", 3),
        ({"cpus_per_trial": np.float32(0.5)}, "cpus_per_trial", 0.5),
        ({"cpus_per_trial": 2}, "cpus_per_trial", 2.0),
        ({"target_flops": np.float64(2e6)}, "target_flops", 2_000_000),
        ({"showcase": np.bool_(False)}, "showcase", False),
        ({"study": np.str_("s")}, "study", "s"),
        ({"set": {"training.epochs": np.int64(3)}}, "set", ("training.epochs=3",)),
        ({"data": Path("a/b.npz")}, "data", "a/b.npz"),
        ({"data": "~nobody-of-this-name/b.npz"}, "data", "~nobody-of-this-name/b.npz"),
    ],
)  # fmt: skip
def test_python_s_numbers_and_paths_are_read(given: Any, name: str, read: Any) -> None:
    """NumPy's numbers, a whole number for a number and a Path are what they look like."""
    value = getattr(options.read(given), name)
    assert (value, type(value)) == (read, type(read))


@pytest.mark.parametrize(
    "value",
    ["3", b"3", 2.5, True, [3], {}, np.array([3]), object()],
    ids=lambda value: type(value).__name__,
)
def test_another_type_is_refused_in_our_words(value: Any) -> None:
    """No option guesses: text is no number, and a number no text."""
    with pytest.raises(UserError, match="--trials is a whole number, not "):
        nas.search(target_flops="2M", trials=value)
    if not isinstance(value, str):
        for name in ("data", "study", "metric", "sampler", "out", "checkpoints", "recipe"):
            with pytest.raises(UserError, match=f"--{name} is text, not "):
                options.read({name: value})
        with pytest.raises(UserError, match="--space is a name, a path or a SearchSpace, not "):
            options.read({"space": value})


def test_home_is_expanded_in_every_path(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """~ is the home folder in options, in Python, in a store's URL and in other verbs' paths."""
    monkeypatch.setenv("HOME", str(here))
    for name in ("space", "data", "out", "checkpoints", "latency_table"):
        for path in ("~/x", Path("~/x")):
            assert getattr(options.read({name: path}), name) == f"{here}/x"
    (here / "x.toml").write_text("trials = 3")
    assert options.given("~/x.toml", {}) == {"trials": 3}
    assert parse("sqlite:///~/nas.db").database == f"{here}/nas.db"
    with pytest.raises(UserError, match=f"{here}/y.json"):
        nas.cost_of("~/y.json")
    assert refusal("cost", "~/y.json") == refusal("cost", f"{here}/y.json")


@pytest.mark.parametrize("name", nas.__all__)
def test_a_misspelt_argument_is_a_type_error(name: str, here: Path) -> None:
    """Every verb names the nearest argument; nothing is done or written."""
    verb = getattr(nas, name)
    right = max([name for name, _ in parameters(verb)], key=len, default="")
    nearest = f" Did you mean '{right}'" if right else ""
    with pytest.raises(TypeError, match=rf"named '{right}s'\.{nearest}") as told:
        verb(**{f"{right}s": 1})
    assert isinstance(told.value, UserError)
    assert list(here.iterdir()) == []
    assert pickle.dumps(verb)  # a verb can be sent to another process


def test_a_verb_reads_its_arguments(here: Path) -> None:
    """NumPy's numbers are numbers; what is not finite or of another type is refused."""
    assert nas.cost_of("efficientnet_b0", resolution=np.int64(64)).architecture.resolution == 64
    for given, told in (
        ({"resolution": "64"}, "--resolution is a whole number, not '64'"),
        ({"classes": 2.0}, "--classes is a whole number, not 2.0"),
    ):
        with pytest.raises(UserError, match=told):
            nas.cost_of("efficientnet_b0", **given)
    for words in (
        ("latency", "table", "--seconds", "nan", "--out", "t"),
        ("status", "--watch", "--every", "inf"),
    ):
        assert re.search(r"--\w+ is a number from .* not (nan|inf)", refusal(*words))


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
