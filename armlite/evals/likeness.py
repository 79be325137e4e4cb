"""How an evaluation is judged otherwise than by the judge's own rules: as the reference was, or in single rules.

`armlite eval --like reference` and `--rule KEY=VALUE` come here; what the reference did stands as data in
`armlite/protocol/reference.yaml`. Nothing is judged here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from armlite.episode import EpisodeSettings
from armlite.errors import ArmliteError, first_fault, nearest
from armlite.evals.folder import EvalSettings
from armlite.memory import Limits
from armlite.models import model_prefix
from armlite.protocol import reference

LIKE = ("reference",)
"""What an evaluation can be like."""
BUDGETS = ("max_new_tokens", "max_context")
"""Rules that are budgets of the model: tokens of a turn and of a conversation."""
RULES = (*Limits.model_fields, "max_calls", "parse", "like", "tools", *BUDGETS)
"""What `--rule` may change."""


def reference_name(benchmark: str) -> str:
    """What the reference's data call a benchmark, a file of tasks or `pocket`."""
    return reference.TASKS if benchmark.endswith(".jsonl") or benchmark == "pocket" else benchmark


def like(word: str, benchmark: str) -> dict[str, Any]:
    """Rule -> value, and `order`, as the reference was evaluated on a benchmark.

    Raises:
        ArmliteError: nothing is known of the word, or of how the reference evaluated the benchmark.
    """
    if word not in LIKE:
        raise ArmliteError(f"--like {word!r} is not known.{nearest(word, LIKE)} It can be: {', '.join(LIKE)}")
    name, known = reference_name(benchmark), reference.data()
    entry = reference.entry(name)
    rules = {**known["limits"], **known["runners"][entry["runner"]], "max_context": known["max_context"]}
    return {**rules, "like": name, "parse": "lenient", "order": entry["order"]}


def reference_runner(benchmark: str) -> str:
    """Who evaluated a benchmark there, `scripts` or `kit`; empty where that is not known."""
    return reference.data()["benchmarks"].get(reference_name(benchmark), {}).get("runner", "")


def request_fields(model: str, benchmark: str) -> dict[str, Any]:
    """Fields that the reference sends with each request; none for a local model."""
    runner = reference_runner(benchmark)
    return dict(reference.data()["requests"][runner]) if runner and model_prefix(model) == "openai" else {}


def single_rules(words: Sequence[str]) -> dict[str, Any]:
    """What `--rule KEY=VALUE` says, one each.

    Raises:
        ArmliteError: a word without `=`, or no such rule; names the nearest.
    """
    rules = {}
    for word in words:
        key, equals, value = word.partition("=")
        key = key.strip().removeprefix("limits.")
        if not equals or key not in RULES:
            raise ArmliteError(f"--rule {word!r} must be KEY=VALUE.{nearest(key, RULES)} Keys: {', '.join(RULES)}")
        rules[key] = yaml.safe_load(value)
    return rules


def changed(settings: EpisodeSettings, rules: Mapping[str, Any]) -> EpisodeSettings:
    """The settings with other rules; those that are none of an episode are passed over.

    Raises:
        ArmliteError: a value that a rule cannot have; nothing is known of what the judge is to be like.
    """
    limits = {key: value for key, value in rules.items() if key in Limits.model_fields}
    others = {key: value for key, value in rules.items() if key in EpisodeSettings.model_fields}
    whole = settings.model_dump()
    try:
        made = EpisodeSettings.model_validate({**whole, **others, "limits": {**whole["limits"], **limits}})
    except ValidationError as error:
        raise ArmliteError("--rule: " + ": ".join(first_fault(error))) from error
    if made.like is not None:
        reference.entry(made.like)
    return made


WORDS = {"like": "prompts and tool texts (none: armlite's own)"}
"""Rules whose names say too little."""
PHOTO = (3840, 2160)
"""Width and height of the picture that pixel limits are explained with."""
_OF_DOCUMENTS_AND_CONSTRAINTS = (
    *("sheet_max_pixels", "sheet_max_pages", "page_max_pixels", "pages_as", "pages_per_query", "page_max_characters"),
    *("verifier_mode", "splitter"),
)
_OF_TOOLS = ("max_calls", "crop_max_pixels", "observation_max_characters", *_OF_DOCUMENTS_AND_CONSTRAINTS)


def unlike(settings: EvalSettings) -> list[str]:
    """Every setting of a run that differs from the reference's evaluation, pixels first, each with both values; none
    where nothing is known of how the reference evaluated the benchmark. Rules of tools count where the run has tools,
    those of documents and constraints where the benchmark has them.
    """
    if not (runner := reference_runner(settings.benchmark)):
        return []
    wanted = like("reference", settings.benchmark)
    left_out = {*(() if runner == "scripts" else _OF_DOCUMENTS_AND_CONSTRAINTS), "order", "tools"}
    left_out |= {*(_OF_TOOLS if not settings.tools or "tools" in wanted else ())}
    left_out |= {"image_max_pixels"} if "tools" in wanted else set()  # a benchmark of texts
    here = {**settings.episode.get("limits", {}), **settings.episode, **settings.writer}
    here["max_calls"] = settings.max_calls
    fields = request_fields(settings.model, settings.benchmark)
    left_out |= {"max_context"} if fields else set()
    wanted |= fields
    here = {name: value for name, value in here.items() if name not in fields} | settings.writer.get("extra", {})
    wanted |= {"temperature": 0.0, "top_p": 1.0, "votes": 1, "quantize": None, "splitter": "nltk"}
    here |= {"temperature": settings.temperature, "votes": settings.votes}
    said = [
        f"{WORDS.get(name, name)}: {_word(here[name])} here, {_word(value)} there{_seen(name, here[name], value)}"
        for name, value in sorted(wanted.items(), key=lambda rule: not rule[0].endswith("_pixels"))
        if name not in left_out and name in here and here[name] != value
    ]
    said += [f"{name}: not sent here, {value} there" for name, value in fields.items() if name not in here]
    if settings.order != wanted["order"]:
        said.append(f"order: {settings.order} here, {wanted['order']} there")
    return said


def _word(value: Any) -> str:
    return f"{value:,}" if type(value) is int else "none" if value is None else str(value)


def _seen(name: str, here: int, there: int) -> str:
    """What a limit on pictures means for a large photo."""
    if name != "image_max_pixels":
        return ""
    width, height = PHOTO
    few, many = visual_tokens(width, height, here), visual_tokens(width, height, there)
    return f" (a photo of {width} x {height} has {few:,} visual tokens here and {many:,} there)"


def visual_tokens(width: int, height: int, max_pixels: int) -> int:
    """Visual tokens of a picture that is shrunk to an area in pixels: squares of 28 pixels, sides rounded to them."""
    scale = min(1.0, (max_pixels / (width * height)) ** 0.5)
    return round(int(width * scale) / 28) * round(int(height * scale) / 28)
