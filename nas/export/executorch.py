"""Export for ExecuTorch, which runs on phones and boards: one image at a time, by XNNPACK."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from nas.export import Exportable, Written, graph

EXTRA = "executorch"
PACKAGES = ("executorch",)
RUNTIME = "executorch"
OPTIONS: tuple[str, ...] = ("preprocess", "fold_batch_norm")
TOLERANCE = 1e-4
NEEDS_DATA = False


def write(exportable: Exportable, folder: Path) -> Written:
    """Write model.pte; the operators that XNNPACK has run there, others by portable kernels."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    path = folder / "model.pte"
    program = torch.export.export(exportable.module, (graph.example(exportable, 1),))
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    path.write_bytes(lowered.to_executorch().buffer)
    return Written(path)


def load(path: Path) -> Callable[[Tensor], Tensor]:
    """Load the program; images run one by one."""
    from executorch.runtime import Runtime

    method = Runtime.get().load_program(path).load_method("forward")
    assert method is not None  # every program of ours has it

    def run(images: Tensor) -> Tensor:
        # The runtime's outputs lie in its own memory, which the next run writes to.
        return torch.cat(
            [method.execute([image[None].contiguous()])[0].clone() for image in images]
        )

    return run
