"""Step 4: judge the ONNX form, which is what will be served, on held-out samples."""

from __future__ import annotations

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from isthmus_training.errors import BadModel
from isthmus_training.preprocess import Split
from isthmus_training.train import INPUT, OUTPUTS

TOLERANCE = 1e-4  # ONNX computes in 32 bits, scikit-learn in part in 64


def answers(onnx_model: bytes, images: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Labels and probabilities as onnxruntime, and so the server, gives them; BadModel when it can't."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(onnx_model, options, providers=["CPUExecutionProvider"])
        labels, probabilities = session.run(list(OUTPUTS), {INPUT: images})
    except Exception as fault:  # onnxruntime's own exceptions share no base but Exception
        raise BadModel(f"onnxruntime can't run the model: {fault}") from fault
    return labels, probabilities


def accuracy(onnx_model: bytes, samples: Split) -> float:
    """The share of held-out samples that the model gets right."""
    labels, _ = answers(onnx_model, samples.held_out_images)
    return float(np.mean(labels == samples.held_out_labels))


def evaluate(onnx_model: bytes, model: Pipeline, samples: Split) -> dict[str, float | int | list[float]]:
    """Metrics of the manifest; BadModel when ONNX and scikit-learn disagree on any held-out sample."""
    labels, probabilities = answers(onnx_model, samples.held_out_images)
    expected = model.predict(samples.held_out_images)
    apart = int(np.sum(labels != expected))
    distance = float(np.abs(probabilities - model.predict_proba(samples.held_out_images)).max())
    if apart or not distance <= TOLERANCE:
        raise BadModel(
            f"ONNX and scikit-learn disagree on {apart} of {len(labels)} held-out samples"
            f" (probabilities differ by up to {distance:.2g}, {TOLERANCE:g} is allowed)"
        )
    right = labels == samples.held_out_labels
    return {
        "accuracy": round(float(np.mean(right)), 6),
        "accuracy_by_class": [round(float(np.mean(right[samples.held_out_labels == c])), 6) for c in range(10)],
        "held_out_samples": len(labels),
        "train_samples": len(samples.train_labels),
    }
