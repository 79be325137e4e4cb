"""What is written is told while it is written, by the local engine and by servers, and changes nothing else."""

import json
import time

import pytest
from endpoint import Server
from tiny_qwen import tiny

from armlite.judge import Judge
from armlite.models.completion import read_reply
from armlite.models.engine.vocabulary import Vocabulary
from armlite.models.local import LocalModel
from armlite.models.openai import OpenAIModel
from armlite.models.sampling import Sampling
from armlite.models.streaming import Assembly

ANSWER = "<think>They differ, I think.</think>\n<answer>Overall Judgment: Answer 2 is better.</answer>"


@pytest.fixture(autouse=True)
def _as_it_was(process: Server):
    yield
    process.script()


def judged(server, on_text=None, **options):
    model = OpenAIModel("judge-7b", server.url, probe=False, backoff=0.01, **options)
    return Judge(model).compare("Q?", ["a", "b"], on_text=on_text)


def plain(verdict):
    return verdict.model_dump(exclude={"trajectories": {"__all__": {"images"}}})


def test_a_server_s_words_are_told_as_they_come_and_the_verdict_is_the_same(process: Server, monkeypatch):
    process.script(turns=[ANSWER], pace=0.02)
    told = []
    verdict = judged(process, lambda conversation, text: told.append((time.monotonic(), text)))
    assert "".join(text for _, text in told) == ANSWER
    assert told[-1][0] - told[0][0] > 0.1, "piece by piece, not all at the end"
    assert process.bodies()[-1]["stream"] is True
    quiet = judged(process)
    assert "stream" not in process.bodies()[-1]
    assert plain(quiet) == plain(verdict)
    assert verdict.trajectory.steps[0].turn.tokens == len(ANSWER.split())


def test_a_stream_that_is_cut_off_is_asked_for_again(process: Server):
    process.script(turns=[ANSWER], cut_after=3)
    told = []
    verdict = judged(process, lambda conversation, text: told.append(text))
    assert verdict.choice == 2 and len(process.bodies()) == 2
    assert "".join(told).endswith(ANSWER)


@pytest.mark.parametrize("field", ["stream", "stream_options"])
def test_a_server_that_refuses_to_stream_is_asked_without(process: Server, field):
    process.script(turns=[ANSWER], refuses={field: f"Unrecognized request argument supplied: {field}"})
    told = []
    with pytest.warns(UserWarning, match=f"refuses {field}"):
        verdict = judged(process, lambda conversation, text: told.append(text))
    assert verdict.choice == 2
    assert bool(told) == (field == "stream_options")


def stream(*chunks):
    assembly = Assembly()
    told = "".join(assembly.feed(f"data: {json.dumps(chunk)}") for chunk in chunks)
    assembly.feed("data: [DONE]")
    return assembly.whole(), told


def delta(finish=None, **fields):
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def test_thoughts_and_calls_in_fields_of_their_own_are_put_together():
    def call(**fields):
        return {"tool_calls": [{"index": 0, "function": fields}]}

    whole, told = stream(
        delta(reasoning_content="I must "),
        delta(reasoning_content="look."),
        delta(**call(name="image_zoom_in_tool", arguments="")),
        delta(**call(arguments='{"image": ')),
        delta(**call(arguments='"original_image"}')),
        delta("tool_calls"),
        {"choices": [], "usage": {"completion_tokens": 7, "prompt_tokens": 9}},
    )
    reply = read_reply(whole)
    assert reply.text.startswith("<think>I must look.</think>\n<tool_call>\n")
    assert '{"name": "image_zoom_in_tool", "arguments": {"image": "original_image"}}' in reply.text
    assert (reply.tokens, reply.prompt_tokens) == (7, 9)
    assert told == 'I must look.{"image": "original_image"}'


def test_what_stopped_the_turn_and_the_logprobs_are_kept():
    token = {"token": "2", "logprob": -0.1, "top_logprobs": []}
    whole, _ = stream(
        delta(content="<tool_call>{}"),
        {"choices": [{"delta": {}, "logprobs": {"content": [token]}, "finish_reason": "stop", "stop_reason": None}]},
    )
    assert whole["choices"][0]["stop_reason"] is None, "the model ended the turn itself: nothing was taken out of it"
    assert whole["choices"][0]["logprobs"] == {"content": [token]}
    assert read_reply(whole).text == "<tool_call>{}"


@pytest.mark.parametrize("odd", ["", ": ping", "event: x", "data: ", "data: nonsense", "data: []", "data: {}"])
def test_lines_that_say_nothing_are_passed_over(odd):
    assembly = Assembly()
    assert assembly.feed(odd) == ""
    assert assembly.whole() is None, "nothing has ended"


def test_an_error_amid_a_stream_is_an_error():
    whole, _ = stream(delta(content="a"), {"error": {"message": "out of memory", "code": 500}})
    assert whole["error"]["message"] == "out of memory"


def test_the_engine_tells_what_it_writes_and_no_half_letters():
    model, processor = tiny()
    vocabulary = Vocabulary(processor.tokenizer, model.config.text_config.vocab_size)
    text = "<think>Größe, 大きさ</think>\n<answer>Overall Judgment: Answer 1 is better.</answer>"
    script = [*vocabulary.ids(text), vocabulary.end]
    told = []
    judge = Judge(LocalModel(model, processor, Sampling(max_new_tokens=200), script=lambda _: script))
    verdict = judge.compare("Q?", ["a", "b"], on_text=lambda conversation, piece: told.append(piece))
    assert "".join(told) == text and verdict.choice == 1
    assert len(told) > 50 and not any("\N{REPLACEMENT CHARACTER}" in piece for piece in told)
