"""Run inside a kit's environment: its own readings of (text, options) pairs, from JSON on stdin to JSON on stdout."""

import io
import json
import sys
from contextlib import redirect_stdout


def vlmevalkit():
    from vlmeval.dataset.utils.multiple_choice import extract_characters_regex
    from vlmeval.utils.matching_util import can_infer

    return {
        "vlmevalkit": lambda text, options: can_infer(text, dict(options)),
        "mme_realworld": lambda text, options: extract_characters_regex(text),
    }


def lmms_eval():
    from lmms_eval.tasks.hrbench.hrbench_evals import HRBenchEval
    from lmms_eval.tasks.mme_realworld.utils import extract_characters_regex
    from lmms_eval.tasks.vstar_bench.utils import extract_answer_letter

    judge = HRBenchEval(api_key="")
    return {
        "lmms_hr_bench": lambda text, options: judge.can_infer(text, dict(options)),
        "lmms_vstar": lambda text, options: extract_answer_letter(text),
        "lmms_mme_realworld": lambda text, options: extract_characters_regex(text),
    }


if __name__ == "__main__":
    with redirect_stdout(io.StringIO()):
        rules = {"vlmevalkit": vlmevalkit, "lmms_eval": lmms_eval}[sys.argv[1]]()
        pairs = json.load(sys.stdin)
        answers = {name: [rule(text, options) or None for text, options in pairs] for name, rule in rules.items()}
    json.dump(answers, sys.stdout)
