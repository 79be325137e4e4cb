"""Our models in other kits: against stand-ins that declare the kits' documented base classes, on a real endpoint.

`tests/real` runs the kits themselves.
"""

import importlib
import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from endpoint import Server, fresh
from PIL import Image

from armlite.errors import ArmliteError
from armlite.evals.exports import FAILED, NO_ANSWER
from armlite.store import read

ROOT = Path(__file__).parents[1]
ANSWER = "<think>Seen.</think><answer>{}</answer>"


@pytest.fixture(scope="module")
def process():
    process = Server()
    yield process
    process.close()


@pytest.fixture
def server(process, monkeypatch):
    return fresh(process, monkeypatch)


def module(monkeypatch, name, **names):
    """Put a module, and the packages that it is in, where imports find them."""
    parts = name.split(".")
    for i in range(1, len(parts) + 1):
        found = types.ModuleType(".".join(parts[:i]))
        found.__path__ = []
        monkeypatch.setitem(sys.modules, found.__name__, found)
    vars(found).update(names)


def new(monkeypatch, name):
    """Our module imported anew, and forgotten after the test."""
    for loaded in ("armlite.adapters.vlmevalkit", "armlite.adapters.lmms_eval"):
        monkeypatch.delitem(sys.modules, loaded, raising=False)
    return importlib.import_module(name)


class BaseModel:
    """What VLMEvalKit's base class does with a message."""

    INTERLEAVE = False
    allowed_types = ["text", "image", "video"]

    def __init__(self):
        self.dump_image_func = None

    def set_dump_image(self, function):
        self.dump_image_func = function

    def dump_image(self, line, dataset):
        return self.dump_image_func(line)

    def generate(self, message, dataset=None):
        assert all(part["type"] in self.allowed_types for part in message)
        return self.generate_inner(message, dataset)


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


@pytest.fixture
def kit(monkeypatch):
    module(monkeypatch, "vlmeval.vlm.base", BaseModel=BaseModel)
    return new(monkeypatch, "armlite.adapters.vlmevalkit")


@pytest.fixture
def lmms(monkeypatch):
    module(monkeypatch, "lmms_eval.api.model", lmms=Lmms)
    return new(monkeypatch, "armlite.adapters.lmms_eval")


def prompts(server):
    """The text of each request's first message."""
    found = []
    for body in server.bodies():
        content = next(m["content"] for m in body["messages"] if m["role"] == "user")
        found.append(content if isinstance(content, str) else content[-1]["text"])
    return found


def words(text):
    return {"type": "text", "value": text}


# --- VLMEvalKit ------------------------------------------------------------------------------------------------------


def test_vlmevalkit_gets_the_final_answer_of_a_judgment_with_tools_and_its_record(server, kit, tmp_path):
    picture = tmp_path / "a.jpg"
    Image.new("RGB", (400, 300), "green").save(picture)
    judge = kit.ArmliteModel(server.model, max_calls=3, save=str(tmp_path / "kept"))
    assert isinstance(judge, BaseModel) and judge.is_api and not judge.VIDEO_LLM
    said = judge.generate([{"type": "image", "value": str(picture)}, words("Which?")], dataset="SomeSet")
    assert (said["prediction"], str(said)) == ("Overall Judgment: Answer 1 is better.",) * 2
    record = said["extra_records"]
    assert (record["tool_call_count"], record["stop"], record["fault"]) == (1, "answered", None)
    assert [message["role"] for message in record["conversation"]] == ["user", "assistant", "tool", "assistant"]
    [saved] = read(tmp_path / "kept")
    assert saved.trajectory.task.id == record["task"] and record["task"].startswith("SomeSet/")
    assert (tmp_path / "kept" / saved.trajectory.task.images[0]).is_file()
    assert str(kit.ArmliteModel(server.model, tools=False).generate([words("Which?")])) == str(said)


def test_a_kits_prompt_is_asked_as_it_is(server, kit):
    prompt = "You are a judge.\nReply with [[A]] or [[B]], and only that. Write </answer> nowhere."
    kit.ArmliteModel(server.model).generate([words(prompt)], dataset="SomeSet")
    text = prompts(server)[0]
    assert text.startswith(prompt.replace("</answer>", "< /answer>"))
    assert "short answer" not in text and "start_of_question" not in text
    assert "in the form that is asked for" in text and "<think>...</think>" in text


def test_vlmevalkit_is_told_what_to_ask_for_again(server, kit):
    judge = kit.ArmliteModel(server.model, retries=0)
    server.script(faults=[{"status": 400, "error": {"message": "policy", "code": "content_filter"}}])
    said = judge.generate([words("Who?")])
    assert (said["prediction"], FAILED in said) == (FAILED, True), "the kit looks for its mark in the whole"
    assert "policy" in said["extra_records"]["fault"]
    assert str(judge.generate([words("Who?")])).startswith("Overall")


def test_an_unreadable_picture_costs_its_own_prediction_and_no_other(server, kit, tmp_path):
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    judge = kit.ArmliteModel(server.model)
    said = judge.generate([{"type": "image", "value": str(tmp_path / "torn.png")}, words("Who?")])
    assert (said["prediction"], FAILED in said) == (FAILED, True)
    assert "torn.png cannot be read" in said["extra_records"]["fault"]


def test_a_video_is_one_sentence_and_does_not_vanish(server, kit):
    judge = kit.ArmliteModel(server.model)
    with pytest.raises(ArmliteError, match="MMBench-Video: armlite sees pictures only, no video"):
        judge.generate([{"type": "video", "value": "a.mp4"}, words("Who?")], dataset="MMBench-Video")


@pytest.mark.parametrize(
    ("turn", "prediction"),
    [
        ("<think>It is A, or B, since", NO_ANSWER),
        ("<think>A? No.</think>B it is", "B it is"),
        ("B", "B"),
    ],
)
def test_a_thought_is_no_prediction(server, kit, turn, prediction):
    server.script(turns=[turn])
    judge = kit.ArmliteModel(server.model, tools=False, max_new_tokens=5)
    assert str(judge.generate([words("Who?")])) == prediction


def test_a_row_of_vl_rewardbench_becomes_a_pair_in_the_kits_order(server, kit, tmp_path):
    picture = tmp_path / "a.jpg"
    Image.new("RGB", (400, 300), "green").save(picture)
    judge = kit.ArmliteModel(server.model, tools=False)
    judge.set_dump_image(lambda line: [str(picture)])
    assert judge.use_custom_prompt("VL-RewardBench") and not judge.use_custom_prompt("MMBench")
    line = {"index": 3, "question": "How many?<image>", "response": "['One.', 'Two, I say.']"}  # 15 characters: swapped
    message = judge.build_prompt(line, "VL-RewardBench")
    assert [part["type"] for part in message] == ["image", "text"]
    server.script(turns=[ANSWER.format("Overall Judgment: Answer 1 is better.")])
    assert str(judge.generate(message, "VL-RewardBench")) == "Overall Judgment: Answer 1 is better."
    shown = prompts(server)[0]
    assert "<start_of_resp_1>\nTwo, I say.\n<end_of_resp_1>" in shown
    server.script(turns=["I cannot tell Answer 1 from Answer 2."])
    assert str(judge.generate(message, "VL-RewardBench")) == NO_ANSWER
    assert not kit.ArmliteModel(server.model, pairs=False).use_custom_prompt("VL-RewardBench")


def test_a_conversation_is_told_before_its_last_message(server, kit):
    judge = kit.ArmliteModel(server.model, tools=False)
    messages = [
        {"role": "user", "content": [words("What is this?")]},
        {"role": "assistant", "content": [words("A boat.")]},
        {"role": "user", "content": [words("What colour?")]},
    ]
    assert judge.chat_inner(messages, dataset="MMDU") == "Overall Judgment: Answer 1 is better."
    text = prompts(server)[0]
    assert text.index("user: What is this?") < text.index("assistant: A boat.") < text.index("What colour?")


def test_only_a_servers_model_is_asked_by_many_threads(server, kit, monkeypatch):
    assert kit.ArmliteModel(server.model).is_api
    monkeypatch.setattr(kit, "Answerer", lambda model, **options: None)
    assert not kit.ArmliteModel("runs/mine").is_api


# --- lmms-eval -------------------------------------------------------------------------------------------------------

DOCS = [{"image": Image.new("RGB", (300 + i, 300), "red")} for i in range(4)] + [{"image": None}]


def visuals(doc):
    return [doc["image"]] if doc["image"] else None


def ask(judge, n=5, settings=None, docs=DOCS, shown=visuals):
    judge.task_dict["t"] = {"test": docs}
    default = {"until": ["\n\n"], "temperature": 0}
    return judge.generate_until(
        [Request(f"<image>Question {i}", default if settings is None else settings, shown, i % len(docs), "t", "test")
         for i in range(n)]
    )  # fmt: skip


def test_the_entry_point_gives_the_kit_its_model(monkeypatch):
    made = types.SimpleNamespace
    module(
        monkeypatch,
        "lmms_eval.models.registry_v2",
        ModelManifest=lambda name, simple_class_path: made(model_id=name, simple_class_path=simple_class_path),
    )
    [line] = [line for line in (ROOT / "pyproject.toml").read_text().splitlines() if "adapters.plugin" in line]
    name, _, value = (part.strip().strip('"') for part in line.partition("="))
    found = EntryPoint(name, value, "lmms_eval.models").load()()
    assert (found.model_id, found.simple_class_path) == ("armlite", "armlite.adapters.lmms_eval.ArmliteModel")


def test_lmms_eval_gets_answers_in_the_order_of_its_requests(server, lmms):
    server.script(delay=0.02)
    judge = lmms.ArmliteModel.create_from_arg_string(
        f"pretrained={server.model}", {"batch_size": "2", "device": "cuda:0"}
    )
    assert isinstance(judge, Lmms) and judge.rank == 0
    server.script(delay=0.1)
    assert ask(judge) == ["Overall Judgment: Answer 1 is better."] * 5
    assert server.most_in_flight() == 2
    for offered_by_others in (judge.loglikelihood, judge.generate_until_multi_round):
        with pytest.raises(ArmliteError, match="choose a task"):
            offered_by_others([])


def test_repeats_of_an_item_are_other_tries_at_the_temperature_that_is_asked_for(server, lmms):
    server.script(turns=[ANSWER.format("B")])
    judge = lmms.ArmliteModel(server.model, tools=False)
    same = [Request("Q", {"temperature": 1.0, "do_sample": True}, visuals, 0, "t", "test")] * 3
    judge.task_dict["t"] = {"test": DOCS}
    assert judge.generate_until(same) == ["B"] * 3
    assert {body["temperature"] for body in server.bodies()} == {1.0}
    seeds = {body["seed"] for body in server.bodies()}
    assert len(seeds) == 3
    server.script(turns=[ANSWER.format("B")])
    judge.generate_until(same)
    assert {body["seed"] for body in server.bodies()} == seeds, "another run is the same run"


def test_tasks_with_other_temperatures_keep_the_order_of_the_requests(server, lmms):
    server.script(turns=[ANSWER.format("B")])
    judge = lmms.ArmliteModel(server.model, tools=False)
    judge.task_dict["t"] = {"test": DOCS}
    requests = [Request(f"Q{i}", {"temperature": i % 2}, visuals, i, "t", "test") for i in range(4)]
    assert len(judge.generate_until(requests)) == 4
    assert sorted(body["temperature"] for body in server.bodies()) == [0, 0, 1, 1]
    server.script(turns=[ANSWER.format("B")])
    fixed = lmms.ArmliteModel(server.model, tools=False, temperature=0.5)
    fixed.task_dict["t"] = {"test": DOCS}
    fixed.generate_until(requests)
    assert {body["temperature"] for body in server.bodies()} == {0.5}


@pytest.mark.parametrize("size", ["auto", "auto:4", 1, "1", None])
def test_the_kits_default_batch_is_as_many_as_the_model_can_use(server, lmms, size):
    server.script(delay=0.1, turns=[ANSWER.format("B")])
    judge = lmms.ArmliteModel(server.model, tools=False, **({} if size is None else {"batch_size": size}))
    assert ask(judge, n=8) == ["B"] * 8
    assert server.most_in_flight() > 2


def test_a_batch_that_is_no_number_is_told(server, lmms):
    with pytest.raises(ArmliteError, match="--batch_size 'many' must be a number of requests from 1, or auto"):
        lmms.ArmliteModel(server.model, batch_size="many")


def test_generation_arguments_are_followed_or_told_once(server, lmms, capsys):
    server.script(turns=[ANSWER.format("B;\n\nsince it is B")])
    judge = lmms.ArmliteModel(server.model, tools=False)
    assert ask(judge, 2, {"until": [";", "\n\n"], "max_new_tokens": 16, "top_p": 0.9, "num_beams": 1}) == ["B"] * 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert "max_new_tokens=16 is not followed" in told[0] and "top_p=0.9 is not followed" in told[1]
    assert ask(judge, 1, {"until": ["\n\n"]}) == ["B;\n\nsince it is B"], "the kit's default cuts no answer"


def test_what_could_not_be_judged_is_no_answer_counted_and_told(server, lmms, capsys, tmp_path):
    refused = {"status": 400, "error": {"message": "against the policy", "code": "content_filter"}}
    server.script(turns=[ANSWER.format("B")], faults=[refused])
    judge = lmms.ArmliteModel(server.model, tools=False, retries=0, batch_size=2, save=str(tmp_path / "kept"))
    answers = ask(judge)
    assert sorted(answers, key=str) == ["B"] * 4 + [None]
    told = capsys.readouterr().err
    assert told.startswith("armlite: 1 of 5 items could not be judged (model: 1) and count as wrong; the first:")
    assert "against the policy" in told
    faults = [row.trajectory.fault for row in read(tmp_path / "kept")]
    assert sum(fault is not None for fault in faults) == 1 and len(faults) == 5


def test_a_server_that_judges_nothing_ends_the_run(server, lmms):
    refused = {"status": 400, "error": {"message": "no such thing", "code": "content_filter"}}
    server.script(faults=[refused] * 5)
    with pytest.raises(ArmliteError, match="none of 5 items could be judged: .*no such thing"):
        ask(lmms.ArmliteModel(server.model, tools=False, retries=0))


def test_an_unreadable_picture_costs_one_item_and_a_video_is_one_sentence(server, lmms, tmp_path, capsys):
    server.script(turns=[ANSWER.format("B")])
    whole = tmp_path / "whole.png"
    Image.effect_noise((64, 64), 90).save(whole)
    torn = tmp_path / "torn.png"
    torn.write_bytes(whole.read_bytes()[:600])

    def opened(doc):
        return [Image.open(doc["file"])]  # decoded later, as Pillow does

    judge = lmms.ArmliteModel(server.model, tools=False)
    assert ask(judge, 2, docs=[{"file": whole}, {"file": torn}], shown=opened) == ["B", None]
    assert "a picture of t/test/1 cannot be read" in capsys.readouterr().err
    for video, what in (("a.mp4", "the file a.mp4"), ({"array": [0.0]}, "a dict")):
        with pytest.raises(ArmliteError, match=f"t/test/0 shows {what}: armlite sees pictures only"):
            ask(judge, 1, docs=[{}], shown=lambda doc, video=video: [video])
    assert ask(judge, 1, docs=[{}], shown=lambda doc: [str(whole)]) == ["B"], "a picture by its file is one"


@pytest.mark.parametrize(
    ("row", "turn", "answer"),
    [
        ({"query": "How many?", "response": ["One.", "Two, I say."], "human_ranking": [0, 1]}, 1,
         "Overall Judgment: Answer 1 is better."),
        ({"query": "How many?", "response": ["One.", "Two I say."], "human_ranking": [0, 1]}, 2,
         "Overall Judgment: Answer 2 is better."),
        ({"Text": "How many?", "Output1": "One.", "Output2": "Two.", "Better": "Output1"}, 2, "[[B]]"),
        ({"Text": "How many?", "Output1": "One.", "Output2": "Two.", "Better": "Output1"}, 1, "[[A]]"),
    ],
)  # fmt: skip
def test_rows_of_reward_benchmarks_become_pairs_answered_in_the_kits_form(server, lmms, row, turn, answer):
    server.script(turns=[ANSWER.format(f"Overall Judgment: Answer {turn} is better.")])
    judge = lmms.ArmliteModel(server.model, tools=False)
    assert ask(judge, 1, docs=[row], shown=lambda doc: []) == [answer]
    assert "<start_of_resp_1>" in prompts(server)[0] and "Question 0" not in prompts(server)[0]
    plain = lmms.ArmliteModel(server.model, tools=False, pairs=False)
    assert ask(plain, 1, docs=[row], shown=lambda doc: []) == [f"Overall Judgment: Answer {turn} is better."]


def test_pictures_are_opened_when_their_turn_comes(server, lmms):
    opened = []
    server.script(turns=[ANSWER.format("B")], delay=0.02)

    def noted(doc):
        opened.append(len(server.record()))
        return []

    ask(lmms.ArmliteModel(server.model, tools=False, batch_size=2), 8, docs=[{}] * 8, shown=noted)
    assert opened[-1] >= 4, "not all of them before the first request"


# --- Both ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kit"), [("vlmevalkit", "VLMEvalKit"), ("lmms_eval", "lmms-eval")])
def test_without_the_kit_the_import_works_and_making_a_model_says_what_is_missing(name, kit, monkeypatch):
    for other in ("vlmeval", "lmms_eval"):
        monkeypatch.setitem(sys.modules, other, None)
    found = new(monkeypatch, f"armlite.adapters.{name}")
    with pytest.raises(ArmliteError, match=f"{kit} is not installed here"):
        found.ArmliteModel("openai:judge@http://127.0.0.1:9/v1")


def test_the_plugin_costs_every_start_of_the_kit_nothing():
    slow = ("PIL", "pydantic", "torch")
    code = f"import sys, armlite.adapters.plugin; sys.exit(any(name in sys.modules for name in {slow}))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_models_of_one_process_save_to_one_folder_side_by_side(server, kit, tmp_path):
    server.script(turns=[ANSWER.format("B")])
    judges = [kit.ArmliteModel(server.model, tools=False, save=str(tmp_path / "kept")) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: judges[n % 4].generate([words(f"Who is {n}?")]), range(24)))
    assert len({row.trajectory.task.id for row in read(tmp_path / "kept")}) == 24
