"""Training: acquire -> preprocess -> train -> evaluate -> publish."""

import os

# onnxruntime reports to its maker over the internet unless this is set before it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
