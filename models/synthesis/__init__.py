"""From conditions to pictures with a diffusers pipeline."""

import os

# Read by diffusers, huggingface_hub and transformers when they are first imported, so set before that.
os.environ["DIFFUSERS_DISABLE_REMOTE_CODE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns at import that torchvision is absent
