"""Digits: 1,797 handwritten digits of 8x8 pixels, bundled with scikit-learn: no download.

E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI, 1998.
"""

import numpy as np

from nas.data.dataset import SPLITS, DataSet, Origin, content_hash, in_memory, stratified


def load() -> DataSet:
    """Load the digits, divided 60/20/20; a flipped digit is no digit, so flips are forbidden."""
    from sklearn.datasets import load_digits  # 1 s: only when the digits are asked for

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]  # levels 0..16
    labels = bunch.target.astype(np.int64)
    classes = tuple(str(name) for name in bunch.target_names)
    parts = dict(zip(SPLITS, stratified(labels, (0.6, 0.2, 0.2), names=classes), strict=True))
    return DataSet(
        name="digits",
        fingerprint=content_hash([images, labels, *parts.values()]),
        classes=classes,
        in_channels=1,
        native_resolution=8,
        forbids=frozenset({"flip"}),
        origin=Origin({(8, 8): len(images)}, {"L": len(images)}),
        splits={name: in_memory(images[part], labels[part]) for name, part in parts.items()},
    )
