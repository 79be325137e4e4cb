"""The pocket world in the layouts of published sets: what `recipes/mini.yaml` reads from a hub on this machine.

Pairs about tiles as LLaVA-Critic and as VL-RewardBench have them, questions about tiles as DeepEyes, documents as page
images as MP-DocVQA, constraints as pairs of MMIF-23k, and fours of texts as RewardBench-2.
"""

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from armlite.pocket.world import generate
from armlite.types import Task
from published.pieces import write_json, write_parquet

Write = Callable[[Path, list[Task]], None]


def write_all(folder: Path, rows: int = 90, seed: int = 7) -> dict[str, Path]:
    """Write every set below a folder, in streams of tasks that share none; hub id -> folder."""
    found = {}
    for number, (hub, (family, write)) in enumerate(SETS.items()):
        out = folder / hub
        split = "test" if hub in BENCHMARKS else "train"
        # A source's tasks are drawn with a seed of its own: the split alone would give two sets the same pictures.
        write(out, list(generate(split, rows, seed + number, folder / "drawn", family)))
        found[hub] = out
    return found


def _llava_critic(out: Path, tasks: list[Task]) -> None:
    rows = []
    for task in tasks:
        first, second = task.responses
        human = (
            f"<image>\nYou are given an image, a question and two answers. Judge them.\nQuestion: [{task.question}]\n"
            f"The first response: [{first}]\nThe second response: [{second}]\nASSISTANT:\n"
        )
        said = f"The better response: [{'first' if task.gold == 1 else 'second'}]."
        turns = [{"from": "human", "value": human}, {"from": "gpt", "value": said}]
        image = _picture(out, task)
        rows.append({"id": task.id, "source": "pocket", "conversations": turns, "image": image})
    write_parquet(out / "pairwise/train-00000-of-00001.parquet", rows)
    caption = "<image>\nText Caption: tiles.\nFrom 0 to 100, how much do you rate this Text Caption?"
    turns = [{"from": "human", "value": caption}, {"from": "gpt", "value": "Final Score: 50"}]
    score = {"id": "caption", "source": "pocket", "conversations": turns, "image": _picture(out, tasks[0])}
    write_parquet(out / "pointwise/train-00000-of-00001.parquet", [score])


def _deepeyes(out: Path, tasks: list[Task]) -> None:
    rows = [
        {
            "data_source": "vstar",
            "prompt": [{"role": "user", "content": f"<image>\n{task.question}\nThink first."}],
            "images": [_picture(out, task)],
            "ability": "vl",
            "env_name": "visual_toolbox_v2",
            "reward_model": {"ground_truth": _right(task), "style": "model"},
            "extra_info": {"answer": _right(task), "question": task.question, "index": str(number)},
        }
        for number, task in enumerate(tasks)
    ]
    write_parquet(out / "data_0.1.2_visual_toolbox_v2.parquet", rows)


def _mmif(out: Path, tasks: list[Task]) -> None:
    rows = []
    for task in tasks:
        wanted = f"{task.question} {task.constraints[0].text}"
        chosen, rejected = _right(task), task.responses[2 - int(task.gold)]  # type: ignore[call-overload]
        pair = {"chosen": {"from": "gpt", "value": chosen}, "rejected": {"from": "gpt", "value": rejected}}
        rows.append({"conversations": [{"from": "human", "value": wanted}], **pair, "images": []})
    write_json(out / "mmif_dpo.json", rows)


def _mp_docvqa(out: Path, tasks: list[Task]) -> None:
    import pypdfium2

    rows = []
    for number, task in enumerate(tasks):
        pdf = pypdfium2.PdfDocument(out.parents[1] / "drawn" / str(task.document))
        pages = [_png(page.render(scale=0.5).to_pil()) for page in pdf]
        pdf.close()
        name = f"doc{number:04}"
        row = {"questionId": str(number), "question": task.question, "doc_id": name}
        row |= {"page_ids": str([f"{name}_p{i}" for i in range(len(pages))]), "answers": str([_right(task)])}
        row |= {"answer_page_idx": "0", "data_split": "val"}
        images = {f"image_{i}": pages[i - 1] if i <= len(pages) else None for i in range(1, 21)}
        rows.append(row | images)
    write_parquet(out / "data/val-00000-of-00001.parquet", rows)


def _vl_rewardbench(out: Path, tasks: list[Task]) -> None:
    rows = [
        {
            "id": f"RLAIF-V-{number}",
            "query": task.question,
            "response": list(task.responses),
            "human_ranking": [0, 1] if task.gold == 1 else [1, 0],
            "models": ["model-a", "model-b"],
            "judge": "human",
            "query_source": "pocket",
            "image": _picture(out, task),
            "rationale": "",
            "ground_truth": "",
        }
        for number, task in enumerate(tasks)
    ]
    write_parquet(out / "data/test-00000-of-00001.parquet", rows)


def _rewardbench_2(out: Path, tasks: list[Task]) -> None:
    subsets = ("Factuality", "Precise IF", "Math", "Safety", "Focus")
    rows = []
    for number, task in enumerate(tasks):
        wrong = task.responses[2 - int(task.gold)]  # type: ignore[call-overload]
        row: dict[str, Any] = {"id": str(number), "prompt": f"{task.question} {task.constraints[0].text}"}
        row |= {"chosen": [_right(task)], "rejected": [wrong, f"{wrong} river", f"{wrong} stone"]}
        row |= {"num_correct": 1, "num_incorrect": 3, "total_completions": 4, "models": ["model-a"]}
        rows.append(row | {"subset": subsets[number % len(subsets)], "additional_metadata": {"category": None}})
    write_parquet(out / "data/test-00000-of-00001.parquet", rows)


def _right(task: Task) -> str:
    return task.responses[int(task.gold) - 1]  # type: ignore[call-overload]


def _picture(out: Path, task: Task) -> dict[str, Any]:
    data = (out.parents[1] / "drawn" / task.images[0]).read_bytes()
    return {"bytes": data, "path": Path(task.images[0]).name}


def _png(image: Image.Image) -> dict[str, Any]:
    data = io.BytesIO()
    image.save(data, "PNG")
    return {"bytes": data.getvalue(), "path": None}


SETS: dict[str, tuple[str, Write]] = {
    "lmms-lab/LLaVA-Critic-113k": ("zoom", _llava_critic),
    "ChenShawn/DeepEyes-Datasets-47k": ("zoom", _deepeyes),
    "ChrisDing1105/MMIF-23k": ("instruction", _mmif),
    "lmms-lab/MP-DocVQA": ("document", _mp_docvqa),
    "MMInstruction/VL-RewardBench": ("zoom", _vl_rewardbench),
    "allenai/reward-bench-2": ("instruction", _rewardbench_2),
}
"""Hub id -> family of the pocket world, and how the set lays it out."""
BENCHMARKS = ("MMInstruction/VL-RewardBench", "allenai/reward-bench-2")
PINNED = {"lmms-lab/LLaVA-Critic-113k": "7aa893ac47197c8300d7399d921836e12ceb5499"}
"""Hub id -> the commit that our reader asks for."""


def add_all(hub: Any, sets: Iterable[tuple[str, Path]]) -> None:
    """Put them on a hub (`tests/hub.py`) under their published ids and commits."""
    for name, folder in sets:
        hub.add(f"datasets/{name}", folder, commit=PINNED.get(name))
