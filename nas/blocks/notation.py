"""Architectures in one line per part, as timm writes them, with words for what timm lacks."""

from collections.abc import Iterator
from dataclasses import replace

from nas.architecture import Architecture, Row, Value

# timm's shorthand (`ir_r2_k3.5_s2_e6_c40_se0.5_nsw`), and our words for what it lacks: _nge (GELU),
# _kexp (exponential partition of the kernel groups), _d (stochastic depth). These blocks' kernels
# are 3 and these expansions those unless said otherwise; other blocks and options stand by their
# names.
BLOCK_CODES = {
    "mbconv": "ir", "depthwise_separable": "ds", "fused_mbconv": "er", "conv": "cn",
    "classifier": "fc",
}  # fmt: skip
EXPANSIONS = {"mbconv": 6, "fused_mbconv": 4}
ACTIVATION_CODES = {
    "relu": "nre", "relu6": "nr6", "silu": "nsw", "hard_swish": "nhs", "gelu": "nge", "mish": "nmi",
}  # fmt: skip


def notation(architecture: Architecture) -> list[str]:
    """Return one line per part, in timm's shorthand with what it lacks added."""
    return [" ".join(_shorthand(rows)) for _, rows in architecture.parts()]


def _shorthand(rows: tuple[Row, ...]) -> Iterator[str]:
    """Yield a word per run of equal rows; a run's stride is its first row's, as in timm."""
    runs: list[list[Row]] = []
    for row in rows:
        alike = runs and row.stride == 1 and replace(runs[-1][0], stride=1) == row
        runs[-1].append(row) if alike else runs.append([row])
    for run in runs:
        yield _word(run[0], len(run))


def _word(row: Row, repeats: int) -> str:
    options = dict(row.options)
    words = [BLOCK_CODES.get(row.block, row.block), f"r{repeats}"]
    if "kernels" in options or BLOCK_CODES.get(row.block, "fc") != "fc":
        words.append(f"k{options.pop('kernels', '3')}")
    if row.block != "classifier":
        words.append(f"s{row.stride}")
    if "expansion" in options or row.block in EXPANSIONS:
        words.append(f"e{options.pop('expansion', EXPANSIONS.get(row.block)):g}")
    words.append(f"c{row.out_channels}")
    for name in sorted(options, key=lambda name: (name != "se_ratio", name)):
        words.append(_option_word(name, options[name]))
    return "_".join(words)


def _option_word(name: str, value: Value) -> str:
    if name == "activation":
        return ACTIVATION_CODES.get(str(value), f"n{value}")
    if isinstance(value, bool):
        return name if value else f"no_{name}"
    if name in ("expand_groups", "project_groups"):
        return name[0].replace("e", "a") + ".".join("1" * int(value))
    if name == "skip":
        return {"identity": "skip", "none": "noskip"}.get(str(value), f"skip{value}")
    short = {"se_ratio": "se", "partition": "k", "drop_path": "d", "dropout": "do", "groups": "g"}
    text = value if isinstance(value, str) else f"{value:g}"
    if name == "partition":
        return short[name] + text[:3]
    return short.get(name, f"{name}-" if isinstance(value, str) else name) + text
