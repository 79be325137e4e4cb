"""The table of training sets; what a set is read by is imported when it is asked for.

The data sets of benchmarks stand with them: `armlite.evals.benchmarks.get_set` knows both.
"""

MODULES = {
    "llava-critic": "llava_critic",
    "deepeyes": "deepeyes",
    "mmif-23k": "mmif_23k",
    "arm-thinker-data": "arm_thinker_data",
    "arm-thinker-trajectories": "arm_thinker_trajectories",
}
"""Name -> module, whose `DATASET` is the set."""
