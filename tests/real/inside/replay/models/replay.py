"""The model: each task's answers are `filtered_resps` of `FOLDER/TASK.jsonl`, by `doc_id`."""

import json
from pathlib import Path

from lmms_eval.api.model import lmms


class Replay(lmms):
    def __init__(self, folder: str, **_: object) -> None:
        super().__init__()
        self._folder, self._said = Path(folder), {}

    def generate_until(self, requests):
        return [self._answers(request.args[4])[request.args[3]] for request in requests]

    def loglikelihood(self, requests):
        raise NotImplementedError

    def generate_until_multi_round(self, requests):
        raise NotImplementedError

    def _answers(self, task):
        if task not in self._said:
            lines = (self._folder / f"{task}.jsonl").read_text("utf-8").splitlines()
            self._said[task] = {row["doc_id"]: row["filtered_resps"] for row in map(json.loads, lines)}
        return self._said[task]
