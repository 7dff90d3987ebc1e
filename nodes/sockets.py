"""The pack's own socket types."""
from comfy_api.v0_0_2 import io

Model = io.Custom("LIVE_MODEL")
Concept = io.Custom("LIVE_CONCEPT")
Inversion = io.Custom("LIVE_INVERSION")
Records = io.Custom("LIVE_RECORDS")
MethodRow = io.Custom("LIVE_METHOD")
