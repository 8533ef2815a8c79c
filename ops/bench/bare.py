"""What many would write first: FastAPI and joblib. A yardstick for ops/bench/inference.py; it checks nothing."""

from __future__ import annotations

import os
from typing import Any

import joblib
import numpy as np
from fastapi import FastAPI

app = FastAPI()
model = joblib.load(os.environ["BARE_MODEL"])


@app.post("/v2/models/digits/infer")
def infer(request: dict[str, Any]) -> dict[str, Any]:
    tensor = request["inputs"][0]
    labels = model.predict(np.array(tensor["data"], dtype=np.float32).reshape(tensor["shape"]))
    output = {"name": "label", "datatype": "INT64", "shape": [len(labels)], "data": labels.tolist()}
    return {"model_name": "digits", "outputs": [output]}
