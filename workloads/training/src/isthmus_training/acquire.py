"""Step 1: read the data set and refuse one that would make a silently bad model.

The contract: images of 8 x 8 pixels with values 0 to 16, labels 0 to 9. The default is the UCI handwritten digits
(1797 real samples) that ship with scikit-learn. ISTHMUS_DATA names another file of the same contract:
- .npz with the arrays `images` (n x 64 or n x 8 x 8) and `labels` (n);
- .csv with 64 pixels and then the label on each line, with or without a line of headings.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isthmus_training.errors import BadData

PIXELS, LOW, HIGH, CLASSES = 64, 0.0, 16.0, 10
MINIMUM_SAMPLES, MINIMUM_PER_CLASS = 500, 30


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Checked samples: images float32 (n, 64), labels int64 (n)."""

    source: str
    images: NDArray[np.float32]
    labels: NDArray[np.int64]

    @property
    def digest(self) -> str:
        """Names the content, wherever it was read from."""
        content = hashlib.sha256(self.images.tobytes())
        content.update(self.labels.tobytes())
        return f"sha256:{content.hexdigest()}"


def acquire(path: Path | None) -> Dataset:
    """Reads and checks the data set; BadData says what is wrong with it."""
    if path is None:
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        return checked("sklearn.datasets.load_digits", images, labels)
    if not path.is_file():
        raise BadData(f"ISTHMUS_DATA: there is no file {path}")
    match path.suffix:
        case ".npz":
            images, labels = read_npz(path)
        case ".csv":
            images, labels = read_csv(path)
        case other:
            raise BadData(f"ISTHMUS_DATA: {path.name} ends in {other!r}; give a .npz or a .csv")
    return checked(path.name, images, labels)


def read_npz(path: Path) -> tuple[NDArray, NDArray]:
    """Both arrays of an .npz; pickled objects in it are refused, since reading them would run code."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["images"], arrays["labels"]
    except KeyError as fault:
        raise BadData(f"{path.name} lacks an array: {fault.args[0]}") from None
    except (ValueError, OSError, zipfile.BadZipFile) as fault:
        raise BadData(f"{path.name} is no readable .npz: {fault}") from None


def read_csv(path: Path) -> tuple[NDArray, NDArray]:
    """Pixels and labels of a .csv."""
    try:
        with path.open(encoding="utf-8") as lines:
            top = lines.readline()
        if not top.strip():
            raise BadData(f"{path.name} is empty")
        headings = any(c.isalpha() for c in top.lower().replace("nan", ""))
        table = np.loadtxt(path, delimiter=",", skiprows=int(headings), ndmin=2)
    except (ValueError, OSError) as fault:  # UnicodeDecodeError is a ValueError
        raise BadData(f"{path.name} is no readable .csv: {fault}") from None
    if table.shape[1] != PIXELS + 1:
        raise BadData(f"{path.name}: {table.shape[1]} columns; expected {PIXELS} pixels and a label")
    return table[:, :PIXELS], table[:, PIXELS]


def checked(source: str, images: NDArray, labels: NDArray) -> Dataset:
    """The data set in its one form, or BadData with the first rule that it breaks and where."""
    if images.dtype.kind not in "fiu" or labels.dtype.kind not in "fiu":
        raise BadData(f"{source}: images and labels must be numbers, not {images.dtype} and {labels.dtype}")
    if images.ndim < 2 or images[0].size != PIXELS or labels.shape != images.shape[:1]:
        raise BadData(
            f"{source}: images {images.shape} and labels {labels.shape}; expected (n, 64) or (n, 8, 8) and (n)"
        )
    if len(images) < MINIMUM_SAMPLES:
        raise BadData(f"{source}: {len(images)} samples; at least {MINIMUM_SAMPLES} are needed")
    images = images.reshape(len(images), PIXELS)
    if not np.isfinite(images).all():
        raise BadData(f"{source}: sample {first(~np.isfinite(images).all(axis=1))} holds NaN or infinity")
    outside = np.any((images < LOW) | (images > HIGH), axis=1)
    if outside.any():
        raise BadData(
            f"{source}: sample {first(outside)} holds a pixel outside {LOW:g} to {HIGH:g}; is it scaled otherwise?"
        )
    wrong = np.isin(labels, np.arange(CLASSES), invert=True)
    if wrong.any():
        raise BadData(f"{source}: sample {first(wrong)} has label {labels[wrong][0]}; expected 0 to {CLASSES - 1}")
    counts = np.bincount(labels.astype(np.int64), minlength=CLASSES)
    if counts.min() < MINIMUM_PER_CLASS:
        raise BadData(
            f"{source}: {counts.min()} samples of digit {counts.argmin()}; at least {MINIMUM_PER_CLASS} are needed"
        )
    blank = (images == images[:, :1]).all(axis=1)
    if blank.any():
        raise BadData(f"{source}: sample {first(blank)} is blank: every pixel has the same value")
    return Dataset(source=source, images=images.astype(np.float32), labels=labels.astype(np.int64))


def first(mask: NDArray[np.bool_]) -> int:
    """The index of the first sample that a rule is broken by."""
    return int(mask.argmax())
