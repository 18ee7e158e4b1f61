"""Damaged input of every kind ends in one message and exit code 0 or 2: benchmarks/fuzz.py."""

import json

import pytest

from benchmarks.fuzz import KINDS, LIMIT, RESULT, fuzz

STORES, OTHERS = 4, 25  # inputs of a kind


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_input_is_told(kind: str) -> None:
    """Bits, bytes, cuts and odd values of a good input give no traceback, by a stated seed."""
    counts, failures = fuzz(kind, STORES if kind == "store" else OTHERS, seed=1)
    assert failures == []
    assert set(counts["exit_codes"]) <= {"0", "2"}


def test_the_long_run_found_nothing() -> None:
    """The committed run has 10,000 inputs or more of all kinds, none of which failed."""
    found = json.loads(RESULT.read_text())
    assert set(found["kinds"]) == set(KINDS)
    assert sum(row["inputs"] for row in found["kinds"].values()) >= 10_000
    assert [row["failures"] for row in found["kinds"].values()] == [0] * len(KINDS)
    assert max(row["slowest_seconds"] for row in found["kinds"].values()) < LIMIT
