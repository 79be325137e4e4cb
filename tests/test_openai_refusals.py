"""What servers refuse of a request, in their own words: left out and said once, or told to the user, or one item's."""

import json
from typing import Any

import pytest
from endpoint import ANSWER, Server, ask, episodes, fresh, model
from playing import play

from armlite.errors import ArmliteError
from armlite.models.refusal import FIELDS, complaint_of
from armlite.protocol.render import Conversation, Message
from armlite.types import StopReason


@pytest.fixture
def server(process: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    return fresh(process, monkeypatch)


def complaint(status: int, error: Any) -> Any:
    return complaint_of(status, (error if isinstance(error, str) else json.dumps(error)).encode(), {}, "Bad Request")


def openai(message: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


REFUSED = [
    (
        400,
        openai(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead",
            "max_tokens",
            "unsupported_parameter",
        ),
        "max_tokens",
    ),
    (
        400,
        openai(
            "Unsupported value: 'temperature' does not support 0.0 with this model. Only the default (1) value is "
            "supported.",
            "temperature",
            "unsupported_value",
        ),
        "temperature",
    ),
    (400, openai("Unsupported parameter: 'stop' is not supported with this model.", "stop"), "stop"),
    (400, openai("Unrecognized request argument supplied: seed"), "seed"),
    (400, openai("logprobs is not supported with this model"), "logprobs"),
    (400, openai("`temperature` and `top_p` cannot both be specified for this model. Please use only one."), "top_p"),
    (
        422,
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]},
        "seed",
    ),
    (422, {"detail": "Unexpected fields in the request: {'top_p'}"}, "top_p"),
    (400, {"message": "property 'seed' is unsupported", "type": "invalid_request_error"}, "seed"),
    (
        400,
        {"error": {"message": "litellm.UnsupportedParamsError: groq does not support parameters: ['seed'], for model"}},
        "seed",
    ),
    (422, openai("Input validation error: `temperature` must be strictly positive"), "temperature"),
    (400, openai("'top_p' is deprecated for this model."), "top_p"),
    (400, openai("image too large"), None),
    (400, openai("stop here: nothing is unsupported about the past"), "stop"),
    (400, openai("max_tokens=2048 cannot be greater than max_model_len=512. Please request fewer"), None),
    (400, openai("max_tokens is too large: 100000. This model supports at most 16384 completion tokens"), None),
    (401, openai("unknown key; seed"), None),
    (400, openai("the prompt is not supported: unstoppable"), None),
]


@pytest.mark.parametrize(("status", "error", "field"), REFUSED, ids=[f"{r[2]} {i}" for i, r in enumerate(REFUSED)])
def test_the_field_that_a_server_refuses_is_found_in_its_words(status: int, error: Any, field: str | None) -> None:
    assert complaint(status, error).refused(FIELDS) == field


def test_what_is_refused_is_left_out_and_said_once(server: Server) -> None:
    refuses = {
        f: f"Unsupported parameter: '{f}' is not supported with this model."
        for f in FIELDS
        if f != "max_completion_tokens"
    }
    server.script(refuses=refuses, turns=[ANSWER])
    judge = model(server, extra={"logprobs": True}, workers=2)
    with pytest.warns(UserWarning, match=" refuses ") as said:
        play(batch := episodes(4), judge)
    assert [e.stop for e in batch] == [StopReason.ANSWERED] * 4
    last = server.bodies()[-1]
    assert set(last) == {"model", "messages", "max_completion_tokens"}
    assert last["max_completion_tokens"] == 2048
    words = [str(w.message) for w in said if w.category is UserWarning]
    assert sorted(w.partition(" refuses ")[2].split()[0] for w in words) == sorted(
        ("max_tokens", "stop", "temperature", "top_p", "seed", "logprobs")
    )
    assert len(server.record()) <= 4 + 2 * len(words), "what is left out stays out"


def test_a_field_of_the_user_s_own_is_left_out_too(server: Server) -> None:
    server.script(refuses={"top_k": "Unknown parameter: 'top_k'."}, turns=[ANSWER])
    with pytest.warns(UserWarning, match="refuses top_k"):
        assert ask(model(server, extra={"top_k": 4})).text == ANSWER


@pytest.mark.parametrize(
    "error",
    [
        openai("System role not supported"),
        openai("Only user and assistant roles are supported!"),
        {"error": {"code": 500, "message": "Value is not callable... System role not supported at row 1"}},
        openai("Developer instruction is not enabled for models/gemma-3-27b-it"),
        openai("Conversation roles must alternate user/assistant/user/assistant/..."),
    ],
)
def test_a_template_without_a_system_role_gets_its_text_before_the_question(server: Server, error: Any) -> None:
    status = error["error"].get("code") or 400
    server.script(faults=[{"status": status, "body": error}], turns=[ANSWER])
    with pytest.warns(UserWarning, match=r"refuses system \(.*before the first question"):
        play(batch := episodes(1), model(server))
    assert batch[0].stop is StopReason.ANSWERED
    first, second = server.bodies()
    assert [m["role"] for m in first["messages"]] == ["system", "user"]
    assert [m["role"] for m in second["messages"]] == ["user"]
    assert second["messages"][0]["content"][0]["text"] == first["messages"][0]["content"] + "\n\n"
    assert second["messages"][0]["content"][1:] == first["messages"][1]["content"]


def test_a_bare_500_at_first_contact_is_asked_without_stop(server: Server) -> None:
    bare = {"status": 500, "body": "Internal Server Error"}
    server.script(faults=[bare], turns=[ANSWER])
    with pytest.warns(UserWarning, match="refuses stop"):
        assert ask(model(server)).text == ANSWER
    assert ["stop" in body for body in server.bodies()] == [True, False]


def refusal(judge: Any, n: int = 3) -> str:
    with pytest.raises(ArmliteError) as caught:
        play(episodes(n), judge)
    message = str(caught.value)
    assert "\n" not in message
    return message


NO_MODEL = [
    (404, openai("The model `nope` does not exist. Valid aliases: judge.")),
    (400, openai("/chat/completions: Invalid model name passed in model=nope. Call `/v1/models` to view available")),
    (400, {"detail": "Server is pinned to '/models/judge'; requested 'nope'."}),
    (400, openai("nope is not a valid model ID")),
    (404, {"detail": "Model 'nope' not found"}),
    (500, openai("litellm.NotFoundError: the model `nope` does not exist")),
]


@pytest.mark.parametrize(("status", "error"), NO_MODEL)
def test_a_wrong_model_name_is_recognised_in_every_dialect(server: Server, status: int, error: Any) -> None:
    server.script(faults=[{"status": status, "body": error}] * 3)
    assert "has no model 'judge-8b'. Did you mean 'judge-7b'?" in refusal(model(server, "judge-8b", workers=1))


NO_IMAGES = [
    (500, {"error": {"code": 500, "message": "image input is not supported - hint: provide the mmproj"}}),
    (400, openai("At most 0 image(s) may be provided in one prompt.")),
    (400, openai("/models/m is not a multimodal model")),
    (404, openai("No endpoints found that support image input")),
    (400, openai("Invalid content type. image_url is only supported by certain models.")),
]


@pytest.mark.parametrize(("status", "error"), NO_IMAGES)
def test_pictures_for_a_server_that_takes_none_are_not_tried_again(server: Server, status: int, error: Any) -> None:
    server.script(faults=[{"status": status, "body": error}] * 8)
    assert "takes no pictures with 'judge-7b'" in refusal(model(server, workers=1))
    assert len(server.record()) == 1
    judge = model(server, workers=1)
    server.script(faults=[None, {"status": status, "body": error}], turns=[ANSWER])
    batch = episodes(3)
    play(batch, judge)
    assert [e.stop for e in batch] == [StopReason.ANSWERED, StopReason.MODEL_ERROR, StopReason.ANSWERED]
    assert len(server.record()) == 3


MODERATED = [
    (
        403,
        {
            "error": {
                "code": 403,
                "message": "Your chosen model requires moderation and your input was flagged",
                "metadata": {"reasons": ["violence"], "flagged_input": "x"},
            }
        },
    ),
    (400, openai("The response was filtered due to the prompt triggering the content management policy.", code="x")),
    (400, openai("Your request was rejected as a result of our safety system.", code="invalid_prompt")),
    (400, openai("no", code="content_policy_violation")),
]


@pytest.mark.parametrize(("status", "error"), MODERATED)
def test_a_refusal_of_one_item_costs_that_item_even_if_it_is_the_first(server: Server, status: int, error: Any) -> None:
    server.script(faults=[{"status": status, "body": error}], turns=[ANSWER])
    batch = episodes(4)
    play(batch, model(server, workers=1))
    assert [e.stop for e in batch] == [StopReason.MODEL_ERROR] + [StopReason.ANSWERED] * 3
    why = error["error"]["message"]
    assert why in batch[0].trajectory().steps[-1].turn.text, "the server's own words"


@pytest.mark.parametrize(
    "said",
    [
        "max_tokens=2048 cannot be greater than max_model_len=512. Please request fewer output tokens.",
        "max_tokens is too large: 2048. This model supports at most 1024 completion tokens",
    ],
)
def test_a_budget_that_is_too_large_is_no_overflow_and_says_what_to_do(server: Server, said: str) -> None:
    server.script(faults=[{"status": 400, "error": {"message": said}}] * 3)
    message = refusal(model(server, workers=1))
    assert said in message
    assert message.endswith("say --max-tokens")


@pytest.mark.parametrize(
    "said",
    [
        "'max_tokens' or 'max_completion_tokens' is too large: 2048. This model's maximum context length is 512 tokens "
        "and your request has 300 input tokens (2048 > 512 - 300).",
        "This model's maximum context length is 512 tokens. However, you requested 2048 output tokens and your prompt "
        "contains 300 input tokens, for a total of 2348 tokens. Please reduce the length of the input prompt or the "
        "number of requested output tokens. (parameter=input_tokens, value=300)",
        "This model's maximum context length is 512 tokens. However, you requested 2348 tokens (300 in the messages, "
        "2048 in the completion). Please reduce the length of the messages or completion.",
    ],
)
def test_a_turn_gets_what_room_there_is_behind_its_prompt(server: Server, said: str) -> None:
    server.script(faults=[{"status": 400, "error": {"message": said}}], turns=[ANSWER])
    assert ask(model(server)).text == ANSWER
    assert [body["max_tokens"] for body in server.bodies()] == [2048, 212]
    assert ask(model(server, extra={"max_tokens": None, "max_completion_tokens": 100})).text == ANSWER


def test_the_tokens_of_prompts_are_recorded(server: Server) -> None:
    [episode] = episodes(1)
    play([episode], model(server))
    first, second = (step.turn.prompt_tokens for step in episode.trajectory().steps)
    assert 64 < first < second


def test_a_conversation_without_a_system_role_keeps_plain_text_plain() -> None:
    from armlite.models.openai import OpenAIModel

    judge = OpenAIModel("m", "http://h:1/v1", probe=False)
    judge._left_out.add("system")
    body = judge.body(Conversation("t"), [judge.wire(Message("user", "Which?"))])
    assert body["messages"] == [{"role": "user", "content": "You are a helpful assistant.\n\nWhich?"}]
