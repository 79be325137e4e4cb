"""`armlite bench`: how long a step takes and what it needs, and how that compares with TRL's own loop.

All systems play the same scripted rollouts: forced tokens, real tools, a real optimizer step. Nothing here trains a
judge or says how good one is. Called by `armlite.cli.bench`.
"""
