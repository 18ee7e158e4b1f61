"""Networks of mixconv under 3 M multiply-accumulates at 32 px."""

from dataclasses import replace

from nas import search_space
from nas.cost import Limits

SPACE = replace(
    search_space.load("mixconv"),
    name="mixconv-photographs-40",
    resolution=32,
    limits=Limits(macs=3_000_000),
).fitting()
