"""Step 2: the one rule that says which samples are held out.

A sample is held out when the first byte of its SHA-256 is below 64: a quarter of them. So the rule needs no seed and
no library's random numbers, a sample never changes sides when others are added, and a duplicate is never on both. Every
version of the model is judged on the same samples, whatever its seed. `ops/predict.py` and the e2e tests use this very
function.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus_training.acquire import CLASSES, Dataset
from isthmus_training.errors import BadData

HELD_OUT_BELOW = 64  # of 256


@dataclass(frozen=True, kw_only=True)
class Split:
    """Samples to learn from, and samples to be judged on."""

    train_images: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    held_out_images: NDArray[np.float32]
    held_out_labels: NDArray[np.int64]


def split(data: Dataset) -> Split:
    """Divides the samples; BadData when a class would be missing from either side."""
    held_out = np.array([hashlib.sha256(image.tobytes()).digest()[0] < HELD_OUT_BELOW for image in data.images])
    for side, labels in (("to learn from", data.labels[~held_out]), ("held out", data.labels[held_out])):
        missing = sorted(set(range(CLASSES)) - set(labels.tolist()))
        if missing:
            raise BadData(f"{data.source}: no sample {side} of digits {missing}; the samples are too alike or too few")
    return Split(
        train_images=data.images[~held_out],
        train_labels=data.labels[~held_out],
        held_out_images=data.images[held_out],
        held_out_labels=data.labels[held_out],
    )
