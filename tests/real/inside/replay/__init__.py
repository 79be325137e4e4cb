"""A plugin of lmms-eval for `tests/real/lmms_eval.py`: a model that says what an export of ours holds."""
