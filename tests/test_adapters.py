"""Our models in other kits: against stand-ins that declare the kits' documented base classes, on a real endpoint."""

import importlib
import sys
import types

import pytest
from PIL import Image

from armlite.errors import ArmliteError


@pytest.fixture(scope="module")
def model(server):
    return f"openai:judge-7b@{server}/v1"


def module(monkeypatch, name, **names):
    """Put a module, and the packages that it is in, where imports find them."""
    parts = name.split(".")
    for i in range(1, len(parts) + 1):
        found = types.ModuleType(".".join(parts[:i]))
        found.__path__ = []
        monkeypatch.setitem(sys.modules, found.__name__, found)
    vars(found).update(names)


def fresh(monkeypatch, name):
    """Our module imported anew, and forgotten after the test."""
    for loaded in [m for m in sys.modules if m.startswith("armlite.adapters")]:
        monkeypatch.delitem(sys.modules, loaded)
    return importlib.import_module(name)


class BaseModel:
    """What VLMEvalKit's base class does with a message."""

    INTERLEAVE = False
    allowed_types = ["text", "image"]

    def generate(self, message, dataset=None):
        assert all(part["type"] in self.allowed_types for part in message)
        return self.generate_inner(message, dataset)

    def generate_inner(self, message, dataset=None):
        raise NotImplementedError


class Lmms:
    """What lmms-eval's base class sets up."""

    is_simple = True

    def __init__(self):
        self._rank, self._world_size, self.task_dict = 0, 1, {}

    @property
    def rank(self):
        return self._rank

    @classmethod
    def create_from_arg_string(cls, arguments, more=None):
        return cls(**dict(pair.split("=", 1) for pair in arguments.split(",")), **(more or {}))


class Request:
    def __init__(self, *args):
        self.args = args


def test_vlmevalkit_gets_the_final_answer_of_a_judgment_with_tools(model, monkeypatch, tmp_path):
    module(monkeypatch, "vlmeval.vlm.base", BaseModel=BaseModel)
    kit = fresh(monkeypatch, "armlite.adapters.vlmevalkit")
    picture = tmp_path / "a.jpg"
    Image.new("RGB", (400, 300), "green").save(picture)
    judge = kit.ArmliteModel(model, max_calls=3)
    assert isinstance(judge, BaseModel)
    message = [{"type": "image", "value": str(picture)}, {"type": "text", "value": "Which answer is better?"}]
    assert judge.generate(message, dataset="VL-RewardBench") == "Overall Judgment: Answer 1 is better."
    assert kit.ArmliteModel(model, tools=False).generate(message) == "Overall Judgment: Answer 1 is better."


def test_vlmevalkit_is_told_what_to_ask_for_again(model, monkeypatch):
    module(monkeypatch, "vlmeval.vlm.base", BaseModel=BaseModel)
    kit = fresh(monkeypatch, "armlite.adapters.vlmevalkit")
    judge = kit.ArmliteModel(model, retries=0)
    assert judge.generate([{"type": "text", "value": "Who?"}]).startswith("Overall")
    # From now on the server refuses to be asked for this model: the connection works, the request does not.
    judge._answerer._judge.model.load().model = "gone"
    assert judge.generate([{"type": "text", "value": "Who?"}]) == kit.FAILED


def test_lmms_eval_gets_answers_in_the_order_of_its_requests(model, monkeypatch):
    module(monkeypatch, "lmms_eval.api.model", lmms=Lmms)
    plugin = fresh(monkeypatch, "armlite.adapters.models")
    assert plugin.AVAILABLE_MODELS == {"armlite": "ArmliteModel"}
    kit = importlib.import_module("armlite.adapters.models.armlite")
    judge = kit.ArmliteModel.create_from_arg_string(f"pretrained={model}", {"batch_size": "2", "device": "cuda:0"})
    assert isinstance(judge, Lmms) and judge.rank == 0
    docs = [{"image": Image.new("RGB", (300 + i, 300), "red")} for i in range(4)] + [{"image": None}]
    judge.task_dict["vstar"] = {"test": docs}

    def visuals(doc):
        return [doc["image"]] if doc["image"] else None

    requests = [Request(f"<image>Question {i}", {"until": ["\n"]}, visuals, i, "vstar", "test") for i in range(5)]
    assert judge.generate_until(requests) == ["Overall Judgment: Answer 1 is better."] * 5
    for offered_by_others in (judge.loglikelihood, judge.generate_until_multi_round):
        with pytest.raises(ArmliteError, match="choose a task"):
            offered_by_others(requests)


@pytest.mark.parametrize(("name", "kit"), [("vlmevalkit", "VLMEvalKit"), ("lmms_eval", "lmms-eval")])
def test_without_the_kit_the_import_works_and_making_a_model_says_what_is_missing(name, kit, monkeypatch):
    for other in ("vlmeval", "lmms_eval"):
        monkeypatch.setitem(sys.modules, other, None)
    found = fresh(monkeypatch, f"armlite.adapters.{name}")
    with pytest.raises(ArmliteError, match=f"{kit} is not installed here"):
        found.ArmliteModel("openai:judge@http://127.0.0.1:9/v1")
