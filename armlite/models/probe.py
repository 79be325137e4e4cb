"""A look at an endpoint before the first judgment: does the model behind it get to see what we send?

One short request (where there are pictures one with and one without), whose count of prompt tokens tells: a chat
template may leave the system message out, in which the tools stand; take the thoughts out of earlier turns; or show no
pictures. A common word is at least one token in every tokenizer, so too small a count proves that something is missing;
of one that is large enough nothing is said.
"""

from typing import TYPE_CHECKING

from PIL import Image

from armlite.loop import Reply
from armlite.protocol.render import Conversation, Message
from armlite.rules import carries_rules

if TYPE_CHECKING:
    from armlite.models.openai import OpenAIModel

MARK = "see_what_is_passed_on"
"""Name of the tool that the probe tells of."""
_WORDS = "the of and to in is it for on that by this with you not or be are from at as have an they which"
_TOLD = " ".join([_WORDS] * 8)
"""Two hundred words of one token each, in the description of a tool."""
_THOUGHT = " ".join([_WORDS] * 4)
"""A hundred of them, the thought of an earlier turn."""
BUDGET = 16
"""Tokens of the answer."""
SERVERS = {
    "vllm": ("vLLM", "vllm serve --chat-template FILE", "--limit-mm-per-prompt '{\"image\": 16}'"),
    "sglang": ("SGLang", "--chat-template FILE", "a model that sees"),
    "llamacpp": ("llama.cpp", "--jinja --chat-template-file FILE", "--mmproj FILE"),
    "local": ("transformers serve", "chat_template.jinja in the model's folder", "a model that sees"),
}
"""`owned_by` of a server's models -> what the server is called, how it takes a chat template, and how pictures."""


def look(model: "OpenAIModel", conversation: Conversation) -> list[str]:
    """Sentences on what is amiss, each to be said behind the server's address.

    Args:
        conversation: the first that will be asked for: what goes with it is looked at.

    Raises:
        ArmliteError: as `OpenAIModel.ask`: the key, the address or the model's name is wrong, or pictures are refused.
    """
    shows = bool(conversation.messages[0].images)
    shown = _ask(model, picture=True) if shows else None  # the first, so that a refusal of pictures ends the work
    reply = _ask(model, picture=False)
    if reply is None:
        return []
    known = model.models().get(model.model, {})
    name, template, seeing = SERVERS.get(str(known.get("owned_by")), ("", "its option for a chat template", "pictures"))
    found = _of_text(reply.prompt_tokens, template)
    if shown is not None and 0 < shown.prompt_tokens <= reply.prompt_tokens:
        found.append(f"does not show the model any picture: it wants {seeing}")
    if model.ruled is False and carries_rules(str(known.get("root"))):
        found.append(f"serves {known['root']}, which has rules of its own: judge with --rules {known['root']}")
    return [f"({name}) {finding}" if name else finding for finding in found]


def _ask(model: "OpenAIModel", picture: bool) -> Reply | None:
    """The answer; None where the server would not say anything to so odd a request, or not now."""
    talk = _conversation(picture)
    for _ in range(4):  # each time with a field less, where the server refuses one
        body = model.body(talk, [model.wire(message) for message in talk.messages])
        budget = "max_tokens" if "max_tokens" in body else "max_completion_tokens"
        if budget in body:
            body[budget] = min(BUDGET, body[budget])
        outcome = model.ask(body)
        if isinstance(outcome, Reply):
            return outcome if outcome.finish in ("stop", "length") else None
        if outcome.kind != "changed":
            return None
    return None


def _conversation(picture: bool) -> Conversation:
    images = (Image.new("RGB", (224, 224), "white"),) if picture else ()
    messages = [
        Message("user", "What do you see?", images),
        Message("assistant", f"<think>{_THOUGHT}</think>\n<answer>Nothing.</answer>"),
        Message("user", "And now?"),
    ]
    about = {"name": MARK, "description": _TOLD, "parameters": {"type": "object", "properties": {}}}
    return Conversation("probe", tools=({"type": "function", "function": about},), messages=messages)


def _of_text(tokens: int, template: str) -> list[str]:
    """What a count of prompt tokens proves to be missing of the text; 0: the server does not count."""
    told, thought = len(_TOLD.split()), len(_THOUGHT.split())
    if not tokens or tokens >= told + thought:
        return []
    lost = "the system message, in which the tools are" if tokens < told else "the thoughts of earlier turns"
    return [f"does not pass on {lost}: serve it with the template that `armlite export` writes ({template})"]
