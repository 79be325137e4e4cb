"""armlite in other people's programs: a model of `vlmevalkit` and `lmms_eval`, a reward function of `trl`, and what
scores in `inspect_ai`, `deepeval`, `verifiers` and `promptfoo`.

Importing them works without the kit; making one then says that it is missing. The kits own prompts, data and scoring;
the judge's own benchmarks are in `armlite.evals`. `armlite docs kits` and `armlite docs suites` say how to use them.
"""
