"""Step 5, second half: point the alias at the model if it deserves it.

The policy: a model is promoted when it reaches the threshold and is strictly more accurate than the present champion on
today's held-out samples. A tie keeps the champion, so that servers don't reload for nothing. The champion is judged
anew rather than by its manifest, since its samples may have been others. One that is damaged or can't run is no
champion.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from isthmus_training.errors import BadModel
from isthmus_training.evaluate import accuracy
from isthmus_training.manifest import Model, canonical, digest
from isthmus_training.preprocess import Split
from isthmus_training.publish import folder
from isthmus_training.settings import Settings
from isthmus_training.store import Say, Store


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a model becomes champion, and why."""

    promoted: bool
    reason: str


def judge(
    *, version: str, score: float, threshold: float, champion: str | None, champion_score: float | None
) -> Verdict:
    """The policy alone. `champion_score` is None when there is no champion that works."""
    if score < threshold:
        return Verdict(promoted=False, reason=f"accuracy {score:.4f} is below the threshold {threshold:.4f}")
    if champion is None or champion_score is None:
        return Verdict(promoted=True, reason=f"accuracy {score:.4f}, and there is no champion that works")
    if version == champion:
        return Verdict(promoted=False, reason="it is the champion already")
    if score > champion_score:
        return Verdict(
            promoted=True, reason=f"accuracy {score:.4f} beats champion {champion} with {champion_score:.4f}"
        )
    return Verdict(
        promoted=False, reason=f"accuracy {score:.4f} does not beat champion {champion} with {champion_score:.4f}"
    )


def alias_key(settings: Settings) -> str:
    """Where the alias is."""
    return f"models/{settings.model}/aliases/{settings.alias}.json"


def champion(store: Store, settings: Settings, samples: Split, say: Say) -> tuple[str | None, float | None]:
    """The present champion's version and its accuracy today; no accuracy when it is not fit to be served."""
    content = store.get(alias_key(settings))
    if content is None:
        return None, None
    version = None
    try:
        alias = json.loads(content)
        version, promised = str(alias["version"]), alias["manifest_digest"]
        manifest = store.get(f"{folder(settings.model, version)}/manifest.json")
        onnx = store.get(f"{folder(settings.model, version)}/model.onnx")
        if manifest is None or onnx is None:
            raise BadModel("its files are missing")
        if digest(manifest) != promised or digest(onnx) != json.loads(manifest)["onnx"]["digest"]:
            raise BadModel("its files are damaged: their digests differ from what the alias and manifest promise")
        return version, accuracy(onnx, samples)
    except (ValueError, KeyError, TypeError, BadModel) as fault:
        say(f"the present champion {version or '?'} does not count: {fault or type(fault).__name__}")
        return version, None


def promote(store: Store, settings: Settings, model: Model, score: float, samples: Split, say: Say) -> Verdict:
    """Judges the model against the present champion, and moves the alias if it wins.

    S3 has no lock: of two runs that promote in the same moment the last one stays; both models passed the threshold.
    """
    present, present_score = champion(store, settings, samples, say)
    verdict = judge(
        version=model.version,
        score=score,
        threshold=settings.threshold,
        champion=present,
        champion_score=present_score,
    )
    if verdict.promoted:
        alias = {"version": model.version, "manifest_digest": model.manifest_digest}
        store.put(alias_key(settings), canonical(alias))
    return verdict
