"""`Judge`: what is asked is what is judged, votes are counted honestly, and not being able to judge is a status."""

import re
from pathlib import Path

import pytest
from make_pdf import write_pdf
from PIL import Image
from rich.console import Console

from armlite import Judge, Task, store
from armlite.asking import make_task
from armlite.cli.verdict import draw_verdict
from armlite.episode import EpisodeSettings
from armlite.errors import ArmliteError
from armlite.judge import TRAJECTORIES, VOTING_TEMPERATURE, save
from armlite.loop import Reply
from armlite.memory import Limits
from armlite.models.sampling import Sampling
from armlite.models.scripted import ScriptedModel
from armlite.rules import run_recipe
from armlite.types import Verdict

QUESTION = "What stands at the end of the pier?"


def says(answer, think="I thought."):
    return f"<think>{think}</think>\n<answer>{answer}</answer>"


def better(number):
    return says(f"Overall Judgment: Answer {number} is better.")


def zoom(box="[0, 0, 500, 500]", image="original_image"):
    call = f'{{"name": "image_zoom_in_tool", "arguments": {{"image": "{image}", "bbox_2d": {box}}}}}'
    return f"<think>Let me look.</think>\n<tool_call>\n{call}\n</tool_call>"


def shown(conversation):
    """The responses as the model sees them, in presented order."""
    return re.findall(r"<start_of_resp_\d>\n(.*?)\n<end_of", conversation.messages[0].text, re.DOTALL)


def longest_first(conversation):
    """A judge that knows what it wants: the longest response, wherever it stands."""
    texts = shown(conversation)
    best = max(texts, key=len)
    return says(f"Overall Judgment: Answer {texts.index(best) + 1} is better.", f"I prefer {best}.")


def by_rollout(*answers):
    """A model whose vote depends on the number of the rollout."""
    return ScriptedModel(lambda conversation: answers[conversation.rollout])


CAREFUL = ScriptedModel(longest_first)
FIRST_PLACE = ScriptedModel([better(1)])


@pytest.fixture
def photo(tmp_path):
    Image.radial_gradient("L").convert("RGB").save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_the_choice_counts_in_the_callers_own_order():
    verdict = Judge(CAREFUL).compare(QUESTION, ["a boat", "a lighthouse"])
    assert (verdict.status, verdict.kind, verdict.choice) == ("judged", "pairwise", 2)
    assert verdict.confidence is None
    assert verdict.rationale == "I prefer a lighthouse."
    assert verdict.trajectory.model == "scripted"


def test_of_three_responses_the_best_is_found():
    verdict = Judge(CAREFUL).compare(QUESTION, ["a boat", "a lighthouse", "sky"], swap=True)
    assert (verdict.kind, verdict.choice, verdict.confidence) == ("listwise", 2, 1.0)
    assert [t.order for t in verdict.trajectories] == [(1, 2, 3), (3, 2, 1)]
    assert [t.decision for t in verdict.trajectories] == [2, 2]


def test_swapping_shows_both_orders_and_agreement_is_full_confidence():
    verdict = Judge(CAREFUL).compare(QUESTION, ["a lighthouse", "a boat"], swap=True)
    assert (verdict.status, verdict.choice, verdict.confidence) == ("judged", 1, 1.0)
    assert [t.order for t in verdict.trajectories] == [(1, 2), (2, 1)]
    assert [t.rollout for t in verdict.trajectories] == [0, 1]


def test_a_judge_that_always_prefers_the_first_place_is_split_when_swapped():
    assert Judge(FIRST_PLACE).compare(QUESTION, ["a", "b"]).choice == 1
    verdict = Judge(FIRST_PLACE).compare(QUESTION, ["a", "b"], swap=True)
    assert (verdict.status, verdict.choice, verdict.confidence) == ("split", None, 0.5)
    assert verdict.evidence == ()
    assert verdict.rationale == ""


UNREADABLE = says("I would rather not say.")


@pytest.mark.parametrize(
    ("votes", "status", "choice", "confidence"),
    [
        ([better(1), better(2), better(1)], "judged", 1, 2 / 3),
        ([better(2)] * 4, "judged", 2, 1.0),
        ([better(2), UNREADABLE, UNREADABLE, UNREADABLE], "judged", 2, 0.25),
        ([better(1), better(2), UNREADABLE], "split", None, 1 / 3),
        ([better(1), better(2), better(2), better(1)], "split", None, 0.5),
        ([says("Tie"), says("Tie"), better(1)], "judged", 0, 2 / 3),
        ([UNREADABLE, UNREADABLE], "no_answer", None, None),
    ],
)
def test_confidence_is_the_share_of_the_asked_votes_that_agree(votes, status, choice, confidence):
    verdict = Judge(by_rollout(*votes)).compare(QUESTION, ["a", "b"], votes=len(votes))
    assert (verdict.status, verdict.choice, verdict.confidence) == (status, choice, pytest.approx(confidence))
    assert len(verdict.trajectories) == len(votes)


def test_votes_and_orders_multiply():
    verdict = Judge(CAREFUL).compare(QUESTION, ["a boat", "b"], swap=True, votes=3)
    assert [t.order for t in verdict.trajectories] == [(1, 2), (2, 1)] * 3
    assert [t.rollout for t in verdict.trajectories] == list(range(6))


@pytest.mark.parametrize(
    ("votes", "status", "rating", "confidence"),
    [
        ([8], "judged", 8.0, None),
        ([7, 8, 3], "judged", 7.0, 2 / 3),
        ([7, 8], "judged", 7.5, 1.0),
        ([2, 9], "split", None, 0.0),
    ],
)
def test_a_rating_is_the_median_and_votes_within_a_point_agree(votes, status, rating, confidence):
    judge = Judge(by_rollout(*(says(f"Overall Judgment: {v}") for v in votes)))
    verdict = judge.rate(QUESTION, "a boat", votes=len(votes))
    assert (verdict.status, verdict.rating, verdict.confidence) == (status, rating, pytest.approx(confidence))


@pytest.mark.parametrize("correct", [True, False])
def test_checking_a_response_against_a_constraint(correct):
    model = ScriptedModel([says(f"Overall Judgment: {correct}")])
    verdict = Judge(model).check(QUESTION, "a boat", constraints=["at most three words"])
    assert verdict.correct is correct
    assert verdict.kind == "pointwise"
    assert "at most three words" in verdict.trajectory.prompt
    assert any(name.startswith("check_") for name in verdict.trajectory.tools)


@pytest.mark.parametrize(
    ("turn", "status"),
    [
        (says("no idea"), "no_answer"),
        ("I just talk.", "no_answer"),
        (Reply("<think>and on and on", "length"), "budget"),
        (Reply("", "overflow"), "budget"),
        (zoom(), "budget"),
        (Reply("the server is asleep", "error"), "model_error"),
    ],
)
def test_not_being_able_to_judge_is_a_status_and_never_a_choice(turn, status):
    verdict = Judge(ScriptedModel([turn])).compare(QUESTION, ["a", "b"])
    assert (verdict.status, verdict.choice, verdict.confidence) == (status, None, None)
    if status == "budget":
        assert re.search("ran out of tokens|does not fit|calls were used up", verdict.rationale)
    else:
        assert verdict.rationale == {"model_error": "the server is asleep", "no_answer": turn}[status]


def test_the_evidence_is_what_tools_showed_to_the_votes_that_agree(photo):
    looks = [zoom("[900, 900, 100, 100]"), zoom("[0, 0, 500, 500]"), better(2)]
    lazy = [better(1)]
    turns = {0: lazy, 1: looks, 2: looks}
    model = ScriptedModel(lambda c: turns[c.rollout][c.turns])
    verdict = Judge(model).compare(QUESTION, ["a", "b"], images=[photo], votes=3)
    assert verdict.choice == 2
    [evidence] = verdict.evidence
    assert evidence.tool == "image_zoom_in_tool"
    assert evidence.arguments["bbox_2d"] == [0, 0, 500, 500]
    [crop] = [i for i in verdict.trajectories[1].images if i.file == evidence.images[0]]
    assert verdict.images[crop.file].size == (crop.width, crop.height)


def test_a_ranking_comes_from_all_pairs_in_both_orders():
    steps = []
    judge = Judge(CAREFUL)
    verdict = judge.rank(QUESTION, ["bbb", "a", "dddddddd", "cccc"], on_step=lambda episode, step: steps.append(step))
    assert (verdict.status, verdict.ranking, verdict.choice) == ("judged", (3, 4, 1, 2), 3)
    assert verdict.confidence == 1.0
    assert verdict.rationale == "I prefer dddddddd."
    assert len(verdict.trajectories) == len(steps) == 4 * 3
    assert len({t.task.numbers for t in verdict.trajectories}) == 6
    assert Verdict.from_json(verdict.to_json()) == verdict


def test_a_judge_that_always_prefers_the_first_place_cannot_rank():
    verdict = Judge(FIRST_PLACE).rank(QUESTION, ["a", "b", "c"])
    assert (verdict.status, verdict.ranking, verdict.choice, verdict.confidence) == ("split", (), None, 0.5)


def test_a_ranking_with_a_wrong_vote_is_less_sure():
    def careless(conversation):
        texts = shown(conversation)
        return better(1) if texts == ["a", "ccc"] else longest_first(conversation)

    verdict = Judge(ScriptedModel(careless)).rank(QUESTION, ["a", "bb", "ccc"])
    assert (verdict.ranking, verdict.confidence) == ((3, 2, 1), pytest.approx(5 / 6))


def test_a_ranking_without_any_readable_vote_has_the_status_of_its_votes():
    verdict = Judge(ScriptedModel([Reply("", "length")])).rank(QUESTION, ["a", "b", "c"])
    assert (verdict.status, verdict.ranking) == ("budget", ())


def test_pictures_may_be_paths_or_images_and_a_single_one_needs_no_list(photo):
    same = Image.open(photo)
    verdicts = [Judge(CAREFUL).compare(QUESTION, ["a", "bb"], images=i) for i in (photo, [str(photo)], same, [same])]
    assert len({v.trajectory.images for v in verdicts}) == 1
    assert len({v.trajectory.task.id for v in verdicts}) == 1
    assert verdicts[0].trajectory.tools == ("image_zoom_in_tool",)


def test_a_document_is_judged_with_its_page_tools(tmp_path):
    paper = write_pdf(tmp_path / "paper.pdf", ["# Intro\nThe pier.", "# Results\nA lighthouse stands there."])
    look = '{"name": "doc_page_retrieval_by_query", "arguments": {"filename": "paper", "query": "lighthouse"}}'
    model = ScriptedModel([f"<think>Where?</think>\n<tool_call>\n{look}\n</tool_call>", better(2)])
    verdict = Judge(model).compare(QUESTION, ["a boat", "a lighthouse"], document=paper)
    assert verdict.choice == 2
    assert verdict.evidence[0].data["pages"][0] == 2


def test_tools_can_be_named_or_taken_away(photo):
    judge = Judge(CAREFUL)
    assert judge.compare(QUESTION, ["a", "bb"], photo, tools=()).trajectory.tools == ()
    with pytest.raises(ArmliteError, match="image_zoom_in_tool"):
        judge.compare(QUESTION, ["a", "bb"], photo, tools=["image_zoom_tool"])


def test_any_task_record_can_be_judged(photo):
    choice = Task(id="m", kind="multiple_choice", question="?", images=("photo.png",), options={"A": "x", "B": "y"})
    assert Judge(ScriptedModel([says("B")])).judge(choice, root=photo.parent).answer == "B"
    qa = Task(id="q", kind="open_qa", question="?")
    verdict = Judge(by_rollout(says("Paris."), says("paris"), says("Rome"))).judge(qa, votes=3)
    assert (verdict.answer, verdict.confidence) == ("Paris.", pytest.approx(2 / 3))


def test_the_same_call_gives_the_same_verdict(photo):
    first, second = (Judge(ScriptedModel([zoom(), better(1)])).compare(QUESTION, ["a", "b"], photo) for _ in range(2))
    assert first == second


class Warm(ScriptedModel):
    """Votes for the first response while greedy, for the second while warm."""

    def __init__(self):
        self.name, self.sampling = "warm", Sampling()

    def _reply(self, conversation):
        return Reply(better(1 + (self.sampling.temperature == VOTING_TEMPERATURE)))


def test_votes_of_a_greedy_model_are_sampled_and_the_model_stays_as_it_was():
    model = Warm()
    judge = Judge(model)
    assert judge.compare(QUESTION, ["a", "b"]).choice == 1
    assert judge.compare(QUESTION, ["a", "b"], swap=True).status == "split"
    assert judge.compare(QUESTION, ["a", "b"], votes=3).choice == 2
    assert judge.compare(QUESTION, ["a", "b"]).choice == 1
    assert model.sampling.temperature == 0.0


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda j: j.compare(" ", ["a", "b"]), "question is empty"),
        (lambda j: j.compare("?", ["a"]), "two or more"),
        (lambda j: j.compare("?", "ab"), "list of texts"),
        (lambda j: j.rank("?", ["a"]), "two or more"),
        (lambda j: j.compare("?", ["a", "b"], votes=0), "votes must be at least 1"),
        (lambda j: j.check("?", "a", images="missing.png"), "missing.png does not exist"),
        (lambda j: j.check("?", "a", document="missing.pdf"), "missing.pdf does not exist"),
        (lambda j: j.check("caf\udce9", "a"), "'caf\\?' is not valid UTF-8"),
    ],
)
def test_inputs_are_checked_before_the_model_is_looked_for(call, why):
    with pytest.raises(ArmliteError, match=why):
        call(Judge.load("no/where/at/all"))
    with pytest.raises(ArmliteError, match="no model"):
        Judge.load("no/where/at/all").check("?", "a")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"device": "cdua"}, "cdua"),
        ({"quantize": "8bit"}, "8bit"),
        ({"temperature": -1.0}, "temperature"),
    ],
)
def test_impossible_options_are_refused_at_once(options, why):
    with pytest.raises(ArmliteError, match=why):
        Judge.load("some/model", **options)
    with pytest.raises(ArmliteError, match="server decides"):
        Judge.load("openai:m@http://127.0.0.1:1/v1", device="cpu")


def test_a_run_directory_brings_the_rules_it_was_trained_with(tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints" / "sft").mkdir(parents=True)
    recipe = "stages: {sft: {steps: 1}}\nepisode: {max_calls: 2, limits: {image_max_pixels: 3136}}\n"
    (run / "recipe.yaml").write_text(recipe + "model: {quantize: 4bit}\n")
    for place in (run, run / "checkpoints" / "sft", str(run)):
        settings = Judge.load(place).settings
        assert (settings.max_calls, settings.limits.image_max_pixels) == (2, 3136)
    assert run_recipe(str(tmp_path)) is None
    assert Judge.load(tmp_path).settings == EpisodeSettings()
    own = EpisodeSettings(max_calls=1, limits=Limits(image_max_pixels=784))
    assert Judge.load(run, settings=own).settings == own
    (run / "recipe.yaml").write_text("stagse: {}\n")
    with pytest.raises(ArmliteError, match="stages"):
        Judge.load(run)


def test_saved_judgments_can_be_read_again_with_pictures_and_paths(tmp_path, photo, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paper = write_pdf(tmp_path / "paper.pdf", ["One page."])
    judge = Judge(ScriptedModel([zoom(), better(1)]))
    verdict = judge.compare(QUESTION, ["a", "b"], images=[photo.name, Image.new("RGB", (40, 40))], document=paper.name)
    folder = Path("out/deep")
    assert save(verdict, folder) == folder / TRAJECTORIES
    save(verdict, folder)
    rows = list(store.read(folder))
    assert len(rows) == 2
    task = rows[0].trajectory.task
    assert [(folder / path).is_file() for path in task.images] == [True, True]
    assert (folder / task.document).resolve() == paper.resolve()
    for info in rows[0].trajectory.images:
        assert store.open_image(rows[0].path, info).size == (info.width, info.height)
    assert rows[0].trajectory.steps == verdict.trajectory.steps
    images = [folder / path for path in task.images]
    again, _ = make_task("pairwise", QUESTION, ["a", "b"], images, folder / task.document)
    assert again.id == task.id


def test_a_verdict_that_was_read_leniently_says_so_and_only_where_it_was_asked_for(capsys):
    unclosed = ScriptedModel(["<think>I thought. <answer>Overall Judgment: Answer 2 is better.</answer>"])
    strict = Judge(unclosed).compare("?", ["a", "b"])
    assert (strict.status, strict.choice, strict.lenient) == ("budget", None, False)
    verdict = Judge(unclosed, EpisodeSettings(parse="lenient")).compare("?", ["a", "b"])
    assert (verdict.status, verdict.choice, verdict.lenient) == ("judged", 2, True)
    draw_verdict(Console(), verdict)
    assert "read leniently: a thought was not closed" in capsys.readouterr().out
    assert not Judge(CAREFUL, EpisodeSettings(parse="lenient")).compare("?", ["a", "bb"]).lenient
