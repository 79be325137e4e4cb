"""armlite as a model of other evaluation kits: `vlmevalkit` and `lmms_eval`, each imported on its own.

Importing them works without the kit; making a model then says that it is missing. The kits own prompts, data and
scoring; the judge's own benchmarks are in `armlite.evals`. `armlite docs kits` says how to use them.
"""
