"""What the kits' figures must be, by their names, when ours are these; where they read otherwise, how."""

from collections.abc import Mapping, Sequence

from armlite.evals.benchmarks import mathvista
from armlite.evals.benchmarks.letters import vlmevalkit_letter
from armlite.evals.benchmarks.we_math import Meta
from armlite.evals.figures import Item

VLMEVALKIT = {
    "hr-bench-4k": {
        "Average/all": "acc_official", "Average/single": "acc_official/single", "Average/cross": "acc_official/cross"
    },
    "vstar": {"Overall": "acc_vlmevalkit"},
    "mme-realworld-lite": {"Overall": "acc_kits"},
    "vl-rewardbench": {"Overall Consistency": "acc_all", "Macro Accuracy": "macro_all"},
    "logicvista": {"Overall": "acc_official", "spatial": "acc_official/spatial"},
    "mmlongbench-doc": {
        "overall_acc": "acc", "overall_f1": "f1", "chart": "acc/Chart", "unanswerable": "acc/unanswerable"
    },
}  # fmt: skip
"""Set -> the kit's figure -> ours."""
VLMEVALKIT["hr-bench-8k"] = VLMEVALKIT["hr-bench-4k"]
COUNTS = {
    "InsufficientKnowledge (Strict)": "ik",
    "InadequateGeneralization (Strict)": "ig",
    "CompleteMastery (Strict)": "cm_strict",
    "RoteMemorization (Strict)": "rm_strict",
    "CompleteMastery (Loose)": "cm_loose",
    "RoteMemorization (Loose)": "rm_loose",
}
"""Of We-Math: the kit counts problems and divides by the 525 of the whole set."""


def in_vlmevalkit(name: str, figures: Mapping[str, float], judged: Sequence[Item]) -> dict[str, float]:
    """What VLMEvalKit's figures must be, by its names, when ours are these."""
    if name == "we-math":
        problems = len({Meta.of(item.task).problem for item in judged})
        return {theirs: round(figures[ours] * problems) for theirs, ours in COUNTS.items()}
    if name == "mathvista":
        return {"Overall": sum(map(mathvista_there, judged)) / len(judged)}
    return {theirs: figures[ours] for theirs, ours in VLMEVALKIT[name].items()}


def mathvista_there(item: Item) -> bool:
    """VLMEvalKit's own reading of MathVista, which is not the publisher's: choices by its letter rule, numbers without
    rounding, and a list is never right, since its script compares None there.
    """
    meta = mathvista.Meta.of(item.task)
    if meta.question_type == "multi_choice":
        return vlmevalkit_letter(item.first.said, item.task.options) == item.task.gold
    number = {"integer": int, "float": float}.get(meta.answer_type)
    try:
        return number is not None and number(mathvista.extract(item.first.said, meta.kind)) == number(meta.answer)
    except ValueError:
        return False


LMMS = {
    "hr-bench-4k": {"average": "acc_lmms", "single": "acc_lmms/single", "cross": "acc_lmms/cross"},
    "vstar": {"vstar_overall_acc": "acc_lmms"},
    "mme-realworld-lite": {"mme_realworld_score": "acc_kits"},
    "vl-rewardbench": {"vlreward_score": "macro_all"},
    "multimodal-rewardbench": {"multimodal_rewardbench_accuracy": "acc_all"},
    "mp-docvqa": {"anls": "anls", "accuracy": "accuracy"},
}
"""Set -> lmms-eval's figure -> ours."""
LMMS["hr-bench-8k"] = LMMS["hr-bench-4k"]


def in_lmms_eval(name: str, figures: Mapping[str, float], judged: Sequence[Item]) -> dict[str, float]:
    """What lmms-eval's figures must be, by its names, when ours are these.

    In its MathVista no number with decimals is ever right: it rounds to the published precision, which is a float.
    """
    if name == "mathvista":
        hits = [mathvista.right(i) and mathvista.Meta.of(i.task).answer_type != "float" for i in judged]
        return {"llm_as_judge_eval": round(sum(hits) / len(hits), 4)}
    return {theirs: figures[ours] for theirs, ours in LMMS[name].items()}
