"""What the kit reads of a plugin."""

AVAILABLE_MODELS = {"replay": "Replay"}
