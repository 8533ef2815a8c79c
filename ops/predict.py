"""A real digit through the served model: what `make predict` shows, and the held-out digits that the e2e tests use."""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from infra.paths import ROOT
from ops.console import Failure, say

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHADES = " .:-=+*#%@"
HIGH = 16.0  # a pixel's darkest value
WIDTH = 8  # pixels in a row
MODEL = "digits"


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What was asked, and what the model said."""

    index: int
    pixels: list[float]
    expected: int
    answer: int
    probability: float
    version: str
    digest: str
    url: str


def held_out() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The digits that no model has learnt from: images (n, 64) and labels (n), by training's own rule."""
    source = str(ROOT / "workloads" / "training" / "src")
    if source not in sys.path:
        sys.path.append(source)
    from isthmus_training.acquire import acquire
    from isthmus_training.preprocess import split

    samples = split(acquire(None))
    return samples.held_out_images, samples.held_out_labels


def predict(url: str, index: int | None = None) -> Prediction:
    """Sends one held-out digit (one at random without `index`) to the site at `url`; Failure says what to do."""
    images, labels = held_out()
    chosen = random.randrange(len(images)) if index is None else index
    if not 0 <= chosen < len(images):
        raise Failure(f"there is no held-out digit {chosen}", fix=f"give an index from 0 to {len(images) - 1}")
    pixels = images[chosen].tolist()
    where = f"{url.rstrip('/')}/v2/models/{MODEL}/infer"
    said = ask(where, {"name": "image", "shape": [1, len(pixels)], "datatype": "FP32", "data": pixels})
    try:
        outputs = {output["name"]: output["data"] for output in said["outputs"]}
        return Prediction(
            index=chosen,
            pixels=pixels,
            expected=int(labels[chosen]),
            answer=int(outputs["label"][0]),
            probability=max(outputs["probabilities"]),
            version=said["model_version"],
            digest=said["parameters"]["digest"],
            url=where,
        )
    except (KeyError, TypeError, IndexError, ValueError) as fault:
        raise Failure(
            f"{where} answered what is no prediction ({fault!r})", fix="see who serves that address"
        ) from None


def ask(where: str, tensor: dict[str, Any]) -> dict[str, Any]:
    """The model's answer; Failure when there is none, with the likely cause."""
    try:
        # No proxy: the address is the site's own, and a proxy of this machine doesn't know it.
        answer = httpx.post(where, json={"inputs": [tensor]}, timeout=10, trust_env=False)
    except httpx.TimeoutException:
        raise Failure(f"{where} did not answer within 10 s", fix="make status, which shows what is not ready") from None
    except httpx.TransportError as fault:
        raise Failure(
            f"{where} can't be reached ({fault})", fix="make up; if it is up, make status shows who holds the address"
        ) from None
    try:
        said = answer.json()
    except ValueError:
        said = {"error": answer.text[:200]}
    if answer.status_code == 503:
        raise Failure(
            f"{where} has no model to ask ({said.get('error', 'status 503')})",
            fix="see that training has finished: kubectl logs -n workloads job/training...; make status",
        )
    if answer.status_code != 200:
        raise Failure(
            f"{where} refused the digit with status {answer.status_code}: {said.get('error', 'no reason given')}",
            fix="see that the server and this checkout are of the same version: make up",
        )
    return said


def picture(pixels: list[float]) -> str:
    """The digit in characters, two to a pixel so that it is not too narrow."""
    shades = [SHADES[round(value / HIGH * (len(SHADES) - 1))] * 2 for value in pixels]
    return "\n".join("    " + "".join(shades[row : row + WIDTH]) for row in range(0, len(shades), WIDTH))


def main(url: str, index: int | None = None) -> int:
    """Shows one prediction; status 0 whether or not the model is right, which is not this command's to judge."""
    made = predict(url, index)
    right = "right" if made.answer == made.expected else "wrong"
    say(f"{picture(made.pixels)}\n")
    say(f"answer   {made.answer} ({made.probability:.1%} sure), expected {made.expected}: {right}")
    say(f"digit    {made.index} of the held-out ones")
    say(f"version  {made.version}")
    say(f"digest   {made.digest}")
    say(f"url      {made.url}")
    return 0
