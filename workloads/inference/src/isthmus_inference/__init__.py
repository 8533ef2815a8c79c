"""Inference: serves the model that an alias in the object store points at."""

import os

# onnxruntime reports to its maker over the internet unless this is set before it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
