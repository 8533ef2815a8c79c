"""Data that breaks the contract ends the run with its reason; data that keeps it is split by one rule."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from isthmus_training.acquire import Dataset, acquire
from isthmus_training.errors import BadData
from isthmus_training.preprocess import split


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return acquire(None)


def spoil(images: np.ndarray, labels: np.ndarray, how: str) -> tuple[np.ndarray, np.ndarray]:
    match how:
        case "nan":
            images[7, 3] = np.nan
        case "range":
            images[9] *= 16
            images[9, 20] = 255
        case "label":
            labels[4] = 12
        case "fraction":
            labels = labels.astype(float)
            labels[4] = 1.5
        case "class":
            images, labels = images[labels != 3], labels[labels != 3]
        case "few":
            images, labels = images[:100], labels[:100]
        case "shape":
            images = images[:, :63]
        case "lengths":
            labels = labels[:-1]
        case "blank":
            images[2] = 0
        case "text":
            labels = labels.astype(str)
    return images, labels


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("nan", "sample 7 holds NaN"),
        ("range", "sample 9 holds a pixel outside 0 to 16"),
        ("label", "sample 4 has label 12"),
        ("fraction", "sample 4 has label 1.5"),
        ("class", "0 samples of digit 3"),
        ("few", "100 samples; at least 500"),
        ("shape", "expected (n, 64) or (n, 8, 8)"),
        ("lengths", "expected (n, 64) or (n, 8, 8)"),
        ("blank", "sample 2 is blank"),
        ("text", "must be numbers"),
    ],
)
def test_bad_data_is_refused_with_its_reason(digits: Dataset, tmp_path: Path, how: str, reason: str) -> None:
    images, labels = spoil(digits.images.copy(), digits.labels.copy(), how)
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    with pytest.raises(BadData) as refused:
        acquire(tmp_path / "data.npz")
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("gone.npz", None, "there is no file"),
        ("data.pkl", b"", "give a .npz or a .csv"),
        ("data.npz", b"not a zip", "no readable .npz"),
        ("data.csv", b"1,2,3\n", "3 columns"),
        ("data.csv", b"a,b\nx,y\n", "no readable .csv"),
        ("data.csv", b"", "is empty"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str, content: bytes | None, reason: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BadData, match=reason):
        acquire(tmp_path / name)


def test_pickled_arrays_are_refused(digits: Dataset, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", images=digits.images, labels=np.array([{"code": 1}], dtype=object))
    with pytest.raises(BadData, match="no readable"):
        acquire(tmp_path / "data.npz")


@pytest.mark.parametrize("write", ["npz", "csv", "csv with headings"])
def test_the_same_samples_from_a_file_are_the_same_data(digits: Dataset, tmp_path: Path, write: str) -> None:
    path = tmp_path / f"data.{write[:3]}"
    if write == "npz":
        np.savez(path, images=digits.images.reshape(-1, 8, 8), labels=digits.labels)
    else:
        headings = ",".join(f"pixel{i}" for i in range(64)) + ",label" if "headings" in write else ""
        np.savetxt(path, np.column_stack([digits.images, digits.labels]), "%g", ",", header=headings, comments="")
        path.write_text(path.read_text().lstrip("\n"))
    assert acquire(path).digest == digits.digest


def test_a_sample_stays_on_its_side_when_others_come_or_go(digits: Dataset) -> None:
    whole = split(digits)
    part = split(Dataset(source="part", images=digits.images[600:], labels=digits.labels[600:]))
    assert len(whole.held_out_labels) >= 300
    assert len(whole.train_labels) + len(whole.held_out_labels) == len(digits.labels)
    held_out = {image.tobytes() for image in whole.held_out_images}
    assert {image.tobytes() for image in part.held_out_images} <= held_out
    assert not held_out & {image.tobytes() for image in whole.train_images}


def test_a_class_that_would_miss_from_a_side_is_refused(digits: Dataset, ones: Callable[[Dataset], Dataset]) -> None:
    with pytest.raises(BadData, match=r"of digits \[1\]"):
        split(ones(digits))


@pytest.fixture
def ones() -> Callable[[Dataset], Dataset]:
    """The same picture of a 1 every time: all of them fall on one side."""

    def make(data: Dataset) -> Dataset:
        images = data.images.copy()
        images[data.labels == 1] = images[data.labels == 1][0]
        return Dataset(source="ones", images=images, labels=data.labels)

    return make
