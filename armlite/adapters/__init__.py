"""armlite in other people's programs: a model of `vlmevalkit` and `lmms_eval`, a reward function of `trl`.

Importing them works without the kit; making a model then says that it is missing. The kits own prompts, data and
scoring; the judge's own benchmarks are in `armlite.evals`. `armlite docs kits` says how to use them.
"""
