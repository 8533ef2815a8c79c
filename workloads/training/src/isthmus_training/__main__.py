"""Runs the steps in order and says where it is; the exit status and the last line say how it ended (see errors.py)."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from isthmus_training import errors, settings
from isthmus_training.acquire import acquire
from isthmus_training.evaluate import evaluate
from isthmus_training.manifest import describe
from isthmus_training.preprocess import split
from isthmus_training.promote import promote
from isthmus_training.publish import publish
from isthmus_training.store import Store
from isthmus_training.train import export, fit

STEPS = ("acquire", "preprocess", "train", "evaluate", "publish")


class Progress:
    """One line of JSON for each thing worth knowing: `step 3/5`, the seconds since the start, and what was found."""

    def __init__(self) -> None:
        self.began, self.step = time.monotonic(), STEPS[0]

    def at(self, step: str) -> None:
        self.step = step
        self.say("begins")

    def say(self, message: str, level: str = "info", **facts: Any) -> None:
        line = {
            "level": level,
            "step": f"{STEPS.index(self.step) + 1}/{len(STEPS)} {self.step}",
            "elapsed_s": round(time.monotonic() - self.began, 2),
            "message": message,
            **facts,
        }
        print(json.dumps(line), flush=True)


def run(variables: Mapping[str, str], progress: Progress) -> None:
    """The whole run; a TrainingError ends it."""
    chosen = settings.load(variables)
    progress.at("acquire")
    store = Store(chosen, progress.say)
    data = acquire(chosen.data)
    progress.say("data read", source=data.source, samples=len(data.labels), digest=data.digest)

    progress.at("preprocess")
    samples = split(data)
    progress.say("data split", train=len(samples.train_labels), held_out=len(samples.held_out_labels))

    progress.at("train")
    fitted = fit(samples, chosen.seed)
    onnx = export(fitted)
    progress.say("model fitted", seed=chosen.seed, onnx_bytes=len(onnx))

    progress.at("evaluate")
    metrics = evaluate(onnx, fitted, samples)
    model = describe(name=chosen.model, onnx=onnx, data=data, seed=chosen.seed, metrics=metrics)
    progress.say("ONNX agrees with scikit-learn", version=model.version, accuracy=metrics["accuracy"])

    progress.at("publish")
    score = float(metrics["accuracy"])
    progress.say(publish(store, chosen.model, model), version=model.version)
    verdict = promote(store, chosen, model, score, samples, progress.say)
    progress.say(
        verdict.reason,
        result=f"promoted to {chosen.alias}" if verdict.promoted else "not promoted",
        version=model.version,
        accuracy=score,
    )
    if score < chosen.threshold:
        raise errors.BadModel(
            f"{verdict.reason}. Version {model.version} is published, but {chosen.alias} stays as it was"
        )


def main() -> int:
    """The exit status: 0 done, 2 settings, 3 data, 4 model, 5 object store."""
    progress = Progress()
    try:
        run(os.environ, progress)
    except errors.TrainingError as fault:
        progress.say(f"{type(fault).__name__}: {fault}", level="error", status=fault.status)
        return fault.status
    return 0


if __name__ == "__main__":
    sys.exit(main())
