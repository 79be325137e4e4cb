"""OpenAI's SDK against a served judge: `client_openai.py URL KEY` in an environment with `openai`."""

import json
import sys

import openai

url, key = sys.argv[1:]
client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
found: dict[str, object] = {"version": openai.__version__}

found["models"] = [model.id for model in client.models.list()]
[name] = found["models"]  # type: ignore[misc]
assert client.models.retrieve(name).owned_by == "armlite"

task = {"question": "Name a town in Swabia.", "responses": ["Ulm", "Bern"]}
asked = [{"role": "user", "content": "Which is better?"}]
said = client.chat.completions.create(model=name, messages=asked, extra_body={"task": task})  # type: ignore[arg-type]
found["task"] = said.choices[0].message.content
assert said.model_extra["armlite"]["verdict"]["choice"] == 1  # type: ignore[index]
assert said.choices[0].finish_reason == "stop" and said.usage is not None

red = "iVBORw0KGgoAAAANSUhEUgAAACAAAAAYCAIAAAAUMWhjAAAAJElEQVR4nGP8z0BbwERj80ctGLVg1IJRC0YtGLVg1IJRC6gEAPHIAS8Wxt4fAAAAAElFTkSuQmCC"  # noqa: E501
parts = [
    {"type": "text", "text": "What is it?"},
    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{red}"}},
]
with client.chat.completions.create(
    model=name,
    messages=[{"role": "user", "content": parts}],  # type: ignore[list-item,misc]
    stream=True,
    stream_options={"include_usage": True},
) as stream:
    chunks = list(stream)
found["stream"] = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
assert chunks[-1].usage is not None and chunks[-2].choices[0].finish_reason == "stop"
assert chunks[-2].model_extra["armlite"]["verdict"]["evidence"][0]["tool"] == "image_zoom_in_tool"  # type: ignore[index]

refusals = {
    "wrong key": (openai.AuthenticationError, {"api_key": "wrong"}, {}),
    "wrong model": (openai.NotFoundError, {}, {"model": "gpt"}),
    "bad task": (openai.BadRequestError, {}, {"extra_body": {"task": {"question": "Q?"}}}),
}
for case, (kind, options, changed) in refusals.items():
    try:
        client.with_options(**options).chat.completions.create(**{"model": name, "messages": asked, **changed})
    except kind as error:
        found[case] = error.body["message"]  # type: ignore[index]
print(json.dumps(found))
assert set(refusals) <= set(found)
