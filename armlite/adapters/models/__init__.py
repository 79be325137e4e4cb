"""What lmms-eval looks for in a plugin: `LMMS_EVAL_PLUGINS=armlite.adapters` makes `--model armlite` known to it."""

AVAILABLE_MODELS = {"armlite": "ArmliteModel"}
