"""`/v1/chat/completions` and `/v1/systemone`: the shapes of others, and what they refuse."""

import base64
import json

import pytest
from serving import PAIR, Served, says
from test_serve import data_url, png

from armlite.judge import Judge
from armlite.loop import Reply
from armlite.models.scripted import ScriptedModel
from armlite.types import Verdict

GRADE = [
    {"role": "system", "content": "Be strict."},
    {"role": "user", "content": "Is 2 + 2 = 4 right? Say [[yes]] or [[no]]."},
]


def reply(conversation):
    """As `says`, but a prompt of others gets what it asks for."""
    text = conversation.messages[0].text
    if "[[yes]]" in text:
        assert "system: Be strict." in text and "in the form that is asked for there" in text
        return Reply("<think>Four it is.</think>\n<answer>[[yes]]</answer>", tokens=12, prompt_tokens=34)
    if "too long" in text:
        return Reply("<think>Well", "length", tokens=5)
    return says(conversation)


@pytest.fixture(scope="module")
def served():
    with Served(Judge(ScriptedModel(reply)), name="judge") as server:
        yield server


def chat(served, **body):
    return served.post("/v1/chat/completions", {"model": "judge", **body})


def test_a_prompt_of_others_is_asked_as_it_is_and_answered_in_its_form(served):
    answer = chat(served, messages=GRADE, temperature=0.3, max_tokens=5, user="me").json()
    [choice] = answer["choices"]
    assert choice["message"] == {"role": "assistant", "content": "Four it is.\n\n[[yes]]", "refusal": None}
    assert choice["finish_reason"] == "stop"
    assert answer["usage"] == {"prompt_tokens": 34, "completion_tokens": 12, "total_tokens": 46}
    for form in ({"type": "json_object"}, {"type": "json_schema", "json_schema": {}}):
        alone = chat(served, messages=GRADE, response_format=form).json()
        assert alone["choices"][0]["message"]["content"] == "[[yes]]"


def test_pictures_are_parts_of_messages_and_looked_at(served):
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": data_url(png())}}]
    answer = chat(served, messages=[{"role": "user", "content": parts}]).json()
    [evidence] = answer["armlite"]["verdict"]["evidence"]
    assert evidence["tool"] == "image_zoom_in_tool"
    parts[1]["image_url"]["url"] = "https://example.org/cat.png"
    refused = chat(served, messages=[{"role": "user", "content": parts}])
    assert refused.status_code == 400 and "no address (https:) is fetched here" in refused.text


def test_a_task_is_judged_and_the_verdict_said_with_its_reasons(served):
    answer = chat(served, messages=[], task={**PAIR, "swap": True, "image": data_url(png())}).json()
    assert answer["choices"][0]["message"]["content"] == "The votes are even: no verdict"
    assert answer["armlite"]["verdict"]["status"] == "split"
    answer = chat(served, messages=[], task=PAIR)
    assert answer.json()["choices"][0]["message"]["content"] == "They differ.\n\nResponse 1 is better"
    assert answer.headers["x-armlite-trajectory"] == answer.json()["armlite"]["trajectory"]


OUT = "the model ran out of tokens"


@pytest.mark.parametrize(
    ("text", "finish", "content"),
    [
        ("shrug", "stop", "I would rather not.\n\nCould not judge: the model gave no answer that can be read"),
        (
            "too long",
            "length",
            "the model ran out of tokens in a turn\n\nCould not judge: the model ran out of tokens or calls",
        ),
    ],
)
def test_what_could_not_be_judged_is_said_so(served, text, finish, content):
    [choice] = chat(served, messages=[{"role": "user", "content": text}]).json()["choices"]
    assert (choice["finish_reason"], choice["message"]["content"]) == (finish, content)


def events(text):
    lines = [line for line in text.split("\n\n") if line]
    comments = [line for line in lines if line.startswith(":")]
    data = [line.removeprefix("data: ") for line in lines if not line.startswith(":")]
    assert data[-1] == "[DONE]"
    return comments, [json.loads(one) for one in data[:-1]]


def test_a_stream_tells_each_step_then_the_words_then_the_verdict(served):
    task = {**PAIR, "image": data_url(png())}
    answer = chat(served, task=task, stream=True, stream_options={"include_usage": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    comments, chunks = events(answer.text)
    assert comments[0] == ": image_zoom_in_tool"
    *words, end, usage = chunks
    assert words[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    said = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in words)
    assert said == "They differ.\n\nResponse 1 is better"
    assert end["choices"][0]["finish_reason"] == "stop" and end["armlite"]["verdict"]["choice"] == 1
    assert usage["choices"] == [] and usage["usage"]["total_tokens"] == 0
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"} and len({c["id"] for c in chunks}) == 1
    assert served.settled()


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"messages": []}, 400, "messages: there is none; send at least one, or a task"),
        ({"messages": "hi"}, 400, "messages: Input should be a valid list"),
        (
            {"messages": [{"role": "judge", "content": "x"}]},
            400,
            "messages.0.role: Input should be 'system', ",
        ),
        ({"messages": [{"role": "user"}]}, 400, "messages: they hold no text"),
        ({"messages": GRADE, "model": "jugde"}, 404, "there is no model 'jugde'. Did you mean 'judge'?"),
        ({"messages": GRADE, "n": 2}, 400, "n: Input should be less than or equal to 1"),
        ({"messages": GRADE, "stream": "yes"}, 400, "stream: Input should be a valid boolean"),
        ({"task": {"question": "Q?"}}, 400, "task.response: there is no such field"),
        ({"task": {"question": "Q?"}, "stream": True}, 400, "task.response: there is no such field"),
    ],
)
def test_a_bad_request_is_told_in_one_sentence(served, body, status, words):
    answer = chat(served, **body)
    assert answer.status_code == status and words in answer.json()["error"]["message"]
    assert "\n" not in answer.json()["error"]["message"]


def test_the_judge_is_listed_and_found_by_its_name(served):
    assert served.http.get("/v1/models/judge").json()["id"] == "judge"
    assert served.http.get("/v1/models/gpt").status_code == 404


# --- /v1/systemone ---------------------------------------------------------------------------------------------------


def systemone(served, questions, state="A ship came in.", **more):
    return served.post("/v1/systemone", {"model": "jev-latest", "state": state, "questions": questions, **more})


def test_answers_hold_the_probabilities_that_the_judge_gives(monkeypatch):
    shares = {"Yes": 0.75, "No": 0.25, "A": 0.2, "B": 0.7, "C": 0.1, "0": 0.5, "1": 0.25, "2": 0.25}

    def judged(self, tasks, **how):
        for task in tasks:
            yield Verdict(
                status="judged",
                kind=task.kind,
                answer=max(task.options, key=shares.get),
                probabilities={key: shares[key] for key in task.options},
            )

    monkeypatch.setattr("armlite.serve.engine.ServedJudge.judge_many", lambda *a, **k: list(judged(*a, **k)))
    questions = {
        "sure": {"type": "noul", "instructions": "Is it a ship?"},
        "tone": {"type": "choice", "criteria": {"calm": "quiet", "an angry one, and long " * 9: None, "other": None}},
        "one": {"type": "choice", "criteria": {"only": None}},
        "grade": {"type": "score", "criteria": ["bad", {"what": "fair"}, "good"]},
    }
    with Served(Judge(ScriptedModel(reply))) as server:
        answers = systemone(server, questions).json()["answers"]
    assert answers["sure"]["noul"] == 0.75
    assert answers["tone"]["choice"] == "an angry one, and long " * 9
    assert list(answers["tone"]["probabilities"].values()) == pytest.approx([0.2, 0.7, 0.1])
    assert answers["tone"]["confidence"] == pytest.approx((3 * 0.7 - 1) / 2)
    assert answers["one"] == {
        "type": "choice", "choice": "only", "confidence": 1.0, "probabilities": {"only": 1.0}, "evidence": [],
    }  # fmt: skip
    assert answers["grade"]["score"] == pytest.approx(0.75)
    assert answers["grade"]["legend"] == {"0": "bad", "1": {"what": "fair"}, "2": "good"}


def test_pictures_of_the_state_are_looked_at_and_named_where_they_stood(served, tmp_path):
    url = data_url(png())
    asset = {"type": "image", "format": "png", "data_base64": base64.b64encode(png(colour="blue")).decode()}
    state = {"first": "<image:1f>", "second": url, "third": ["see", url]}
    questions = {"a": {"type": "noul", "instructions": "Is <image:1f> blue?"}}
    kept = tmp_path / "kept"
    with Served(Judge(ScriptedModel(reply)), save=kept) as server:
        answer = systemone(server, questions, state, assets={"<image:1f>": asset}, images=[url])
        assert [one["tool"] for one in answer.json()["answers"]["a"]["evidence"]] == ["image_zoom_in_tool"]
    task = json.loads((kept / "trajectories.jsonl").read_text())["trajectory"]["task"]
    assert len(task["images"]) == 4
    assert json.loads(task["question"].partition("\n\n")[0]) == {
        "first": "(image 1)", "second": "(image 3)", "third": ["see", "(image 4)"],
    }  # fmt: skip
    assert task["question"].endswith("Is (image 1) blue?")


@pytest.mark.parametrize(
    ("questions", "more", "words"),
    [
        ({}, {}, "questions: Dictionary should have at least 1 item"),
        ({"a": {"type": "box"}}, {}, "'box'"),
        ({"a": {"type": "score", "criteria": []}}, {}, "at least 1 item"),
        ({"a": {"type": "choice"}}, {}, "criteria"),
        ({"a": {"type": "noul", "instructions": "shrug"}}, {}, "questions.a: the judge could not judge it (no answer)"),
        ({"a": {"type": "noul"}}, {"assets": {" ": {"data_base64": "aaaa"}}}, "assets: a name is empty"),
        ({"a": {"type": "noul"}}, {"colour": 1}, "colour: there is no such field"),
    ],
)
def test_questions_without_an_answer_are_refused(served, questions, more, words):
    answer = systemone(served, questions, **more)
    assert answer.status_code == 422 and words in answer.json()["error"]["message"]
