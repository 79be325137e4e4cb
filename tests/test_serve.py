"""`armlite serve`: many clients and one judge; each gets what `armlite judge` says, and nobody disturbs the others."""

import base64
import gc
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from command_line import is_one_line, runner
from fuzzed import Cases, Watch
from make_pdf import write_pdf
from PIL import Image
from serving import ANSWER, PAIR, Held, Served, Slow, at_once, says

from armlite.episode import Episode
from armlite.judge import Judge
from armlite.models.engine.vocabulary import Vocabulary
from armlite.models.loading import load
from armlite.models.local import LocalModel, Sampling
from armlite.models.sampling import EngineSettings
from armlite.models.scripted import ScriptedModel
from armlite.serve.run import serve
from armlite.serve.settings import ServeSettings
from armlite.types import Verdict


def png(size=(64, 48), colour="red"):
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, "PNG")
    return data.getvalue()


def data_url(content, kind="image/png"):
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


@pytest.fixture(scope="module")
def served():
    with Served(Judge(ScriptedModel(says))) as server:
        yield server


@pytest.fixture
def run(capsys):
    return runner(capsys)


# --- /v1/judge -------------------------------------------------------------------------------------------------------

TWO, THREE = ("Which?", ["Ulm", "Bern"]), ("Which?", ["a", "b", "c"])
RED, SHOWN = Image.new("RGB", (64, 48), "red"), {**PAIR, "image": data_url(png())}
JUDGED = {
    "pair": (PAIR, lambda judge: judge.compare(*TWO)),
    "preference": ({"query": "Which?", "chosen": "Ulm", "rejected": "Bern"}, lambda judge: judge.compare(*TWO)),
    "check": ({"prompt": "Right?", "response": "Ulm"}, lambda judge: judge.check("Right?", "Ulm")),
    "rate": ({"prompt": "Right?", "response": "Ulm", "rate": True}, lambda judge: judge.rate("Right?", "Ulm")),
    "votes": ({**PAIR, "swap": True, "votes": 2}, lambda judge: judge.compare(*TWO, swap=True, votes=2)),
    "rank": ({"question": THREE[0], "responses": THREE[1], "rank": True}, lambda judge: judge.rank(*THREE)),
    "constraint": ({"question": "Right?", "response": "a b", "constraint": "Say it."},
                   lambda judge: judge.check("Right?", "a b", constraints=["Say it."])),
    "image": (SHOWN, lambda judge: judge.compare(*TWO, RED)),
    "no tools": ({**SHOWN, "tools": False}, lambda judge: judge.compare(*TWO, RED, tools=())),
    "no calls": ({**SHOWN, "max_calls": 0}, lambda judge: judge.compare(*TWO, RED)),
    "no verdict": ({"question": "shrug", "response": "a"}, lambda judge: judge.check("shrug", "a")),
}  # fmt: skip


def bare(verdict):
    """A verdict without its trajectories, whose tasks may have labels, and what was done in these."""
    return verdict.model_copy(update={"trajectories": ()}), [vote.steps for vote in verdict.trajectories]


@pytest.mark.parametrize("case", JUDGED)
def test_a_verdict_is_that_of_the_judge_in_this_process(served, case):
    body, asked = JUDGED[case]
    answer = served.post("/v1/judge", body)
    assert answer.status_code == 200, answer.text
    judge = Judge(ScriptedModel(says))
    if "max_calls" in body:
        judge.settings = judge.settings.model_copy(update={"max_calls": 0})
    assert bare(Verdict.from_json(answer.content)) == bare(asked(judge))
    assert answer.headers["x-armlite-trajectory"] == asked(judge).trajectory.task.id


def test_a_task_record_keeps_its_id_and_a_document_comes_as_data(served, tmp_path):
    write_pdf(tmp_path / "report.pdf", ["# Intro\nThe pier.", "# Results\nTea."])
    content = (tmp_path / "report.pdf").read_bytes()
    record = {"id": "mine", "kind": "multiple_choice", "question": "What?", "options": {"A": "tea", "B": "rum"}}
    for document in (
        {"name": "report.pdf", "data": base64.b64encode(content).decode()},
        {"name": "report.pdf", "url": data_url(content, "application/pdf")},
    ):
        verdict = Verdict.from_json(served.post("/v1/judge", {**record, "document": document}).content)
        task = verdict.trajectory.task
        assert (verdict.answer, task.id, task.document) == ("A", "mine", "report.pdf")
        assert "The given document is named `report`." in verdict.trajectory.prompt


def test_a_batch_answers_in_order_each_as_alone(served):
    tasks = [body for body, _ in JUDGED.values()]
    answer = served.post("/v1/judge/batch", {"tasks": tasks}).json()
    alone = [served.post("/v1/judge", task) for task in tasks]
    assert answer["verdicts"] == [one.json() for one in alone]
    assert answer["trajectories"] == [one.headers["x-armlite-trajectory"] for one in alone]


REFUSED = [
    ([1], 400, "the body must be an object, not a list"),
    ({}, 400, "question: there is no such field"),
    ({"question": "Q?"}, 400, "response: there is no such field"),
    ({"question": " ", "response": "a"}, 400, "question: is empty"),
    ({**PAIR, "votes": 0}, 400, "votes: Input should be greater than or equal to 1"),
    ({**PAIR, "votes": True}, 400, "votes: Input should be a valid integer"),
    ({**PAIR, "tools": ["image_zoom"]}, 400, "there is no tool 'image_zoom'. Did you mean 'image_zoom_in_tool'?"),
    ({**PAIR, "rate": True}, 400, "response: --rate rates one response; there are 2"),
    ({"question": "Q?", "response": "a", "swap": True}, 400, "swap: needs two or more responses; there is one"),
    ({**PAIR, "swap": True, "rank": True}, 400, "swap: rank judges every pair in both orders anyway"),
    ({"id": "x", "kind": "pairwize", "question": "Q?"}, 400, "Did you mean 'pairwise'?"),
    ({"id": "x", "kind": "pairwise", "question": "Q?", "responces": []}, 400, "there is no such field. Did you mean"),
    ({**PAIR, "label": "3"}, 400, "label: '3' is none of the 2 responses"),
    ({**PAIR, "image": "photo.png"}, 400, "image[0]: 'photo.png' names a file; send the data itself, as a data URL"),
    ({**PAIR, "image": "/etc/passwd"}, 400, "image[0]: its 8 bytes are no picture"),
    ({**PAIR, "image": "a picture!"}, 400, "image[0]: 'a picture!' is neither a data URL nor base64"),
    ({**PAIR, "image": "file:///etc/x.png"}, 400, "image[0]: no address (file:) is fetched here"),
    ({**PAIR, "images": ["http://x.org/a.png"]}, 400, "images[0]: no address (http:) is fetched here"),
    ({**PAIR, "images": ["http://x.org/a"]}, 400, "images[0]: no address (http:) is fetched here"),
    ({**PAIR, "image": data_url(png()), "Image": "/etc/hosts.png"}, 400, "'/etc/hosts.png' names a file"),
    ({**PAIR, "document": data_url(b"%PDF"), "pdf": "/etc/hosts"}, 400, "document: "),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Q"}, {"type": "image", "path": "/x.png"}]},
                   {"role": "assistant", "content": "a"}]}, 400, "messages[0]: '/x.png' names a file"),
    ({"prompt": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x.org/a.png"}},
                                              {"type": "text", "text": "Q?"}]}], "response": "a"},
     400, "[0]: no address (http:) is fetched here"),
    ({**PAIR, "images": [{"path": "a.png"}]}, 400, "images[0] must be a data URL or base64, not NoneType"),
    ({**PAIR, "image": data_url(b"hello")}, 400, "image[0]: its 5 bytes are no picture of a form taken here"),
    ({**PAIR, "image": data_url(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")}, 400, "no picture of a form"),
    ({**PAIR, "image": data_url(png()[:60])}, 400, "cannot be read"),
    ({**PAIR, "image": data_url(png((5000, 5000)))}, 413, "may have 16 megapixels together"),
    ({**PAIR, "images": [data_url(png((3000, 3000)))] * 2}, 413, "images[1]: the pictures of a request may have 16"),
    ({**PAIR, "document": "report.pdf"}, 400, "document: 'report.pdf' names a file; send the data itself"),
    ({**PAIR, "document": data_url(b"hello", "application/pdf")}, 400, "document: "),
    ({**PAIR, "document": {"name": 3, "data": "aaaa"}}, 400, "document.name must be a text, not int"),
    ({"messages": [{"role": "user", "content": "Q?"}]}, 400, "messages: must end with the assistant's message"),
    ({"chosen": [1], "rejected": 2}, 400, "question: is empty"),
    ({"question": "Q?", "responses": list("abcdefghi"), "rank": True, "votes": 2}, 413, "the most is 100"),
]  # fmt: skip


@pytest.fixture(scope="module")
def strict():
    with Served(Judge(ScriptedModel(says)), megapixels=16, judgments=100, body_mib=4, batch=3, pages=2) as server:
        yield server


@pytest.mark.parametrize(("body", "status", "words"), REFUSED, ids=range(len(REFUSED)))
def test_a_bad_request_is_told_in_one_sentence(strict, body, status, words):
    answer = strict.post("/v1/judge", body)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (status, "invalid_request_error")
    assert words in error["message"] and "\n" not in error["message"] and len(error["message"]) < 400


@pytest.mark.parametrize(
    ("content", "headers", "status", "words"),
    [
        (b"{", {}, 400, "the body is no JSON: Expecting property name"),
        (b"\xff{}", {}, 400, "the body is not UTF-8 (byte 0)"),
        (b'{"question": NaN}', {}, 400, "the body holds NaN"),
        (b'{"question": "\\ud800", "response": "a"}', {}, 400, "half of a surrogate pair"),
        (b"[" * 5000 + b"]" * 5000, {}, 400, "nested more than 32 deep"),
        (b"1" * 5000, {}, 400, "a number that is too long"),
        (b"{}", {"content-type": "text/plain"}, 415, "must be application/json, not 'text/plain'"),
        (b"{}", {"content-encoding": "zstd"}, 415, "the content encoding must be none, not 'zstd'"),
        (b'"' + b"a" * (5 << 20) + b'"', {}, 413, "larger than 4 MiB"),
    ],
    ids=range(9),
)
def test_a_body_that_is_no_json_of_a_modest_size_is_refused(strict, content, headers, status, words):
    answer = strict.http.post("/v1/judge", content=content, headers={"content-type": "application/json", **headers})
    assert answer.status_code == status and words in answer.json()["error"]["message"]


def test_routes_and_methods_that_there_are_not(strict):
    for method, path, status in (("GET", "/v2", 404), ("GET", "/v1/judge", 405), ("POST", "/health", 405)):
        answer = strict.http.request(method, path)
        assert answer.status_code == status and "\n" not in answer.json()["error"]["message"]
    answer = strict.post("/v1/judge/batch", {"tasks": [PAIR] * 4})
    assert answer.status_code == 413 and "4 tasks are too many" in answer.text
    assert "tasks[1].response" in strict.post("/v1/judge/batch", {"tasks": [PAIR, {"question": "Q?"}]}).text
    assert "there is tasks, a list" in strict.post("/v1/judge/batch", {"tasks": [PAIR], "swap": True}).text


def test_a_document_of_too_many_pages_is_refused(strict, tmp_path):
    write_pdf(tmp_path / "long.pdf", ["a", "b", "c"])
    body = {**PAIR, "document": data_url((tmp_path / "long.pdf").read_bytes(), "application/pdf")}
    answer = strict.post("/v1/judge", body)
    assert answer.status_code == 413 and "has 3 pages; the most is 2" in answer.text


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """A folder to serve from, something beside it, and links that lead there."""
    root = tmp_path / "files"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "a.png").write_bytes(png())
    (tmp_path / "secret.png").write_bytes(png(colour="blue"))
    write_pdf(root / "report.pdf", ["The pier."])
    (root / "pages").mkdir()
    (root / "pages" / "p_1.png").write_bytes(png())
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "up").symlink_to(tmp_path)
    (root / "round.png").symlink_to(root / "round.png")
    return root


def test_names_below_the_folder_are_opened_and_no_others(folder):
    with Served(Judge(ScriptedModel(says)), files=folder) as server:
        verdict = Verdict.from_json(server.post("/v1/judge", {**PAIR, "image": "sub/a.png"}).content)
        assert [call.turn.call.name for call in verdict.trajectory.calls] == ["image_zoom_in_tool"]
        for name, shown in (("report.pdf", "report"), ("pages", "pages")):
            verdict = Verdict.from_json(server.post("/v1/judge", {**PAIR, "document": name}).content)
            assert f"The given document is named `{shown}`." in verdict.trajectory.prompt
        outside = ["../secret.png", "sub/../../secret.png", "link.png", "up/secret.png", "round.png", "none.png"]
        for name in [
            *outside,
            str(folder / "sub" / "a.png"),
            "sub\\a.png",
            "a\0.png",
            "x" * 300 + ".png",
            "/etc/x.png",
        ]:
            answer = server.post("/v1/judge", {**PAIR, "image": name})
            assert answer.status_code == 400, name
        for name in ("../secret.pdf", "up", "..", ".", "", "up/files", str(folder)):
            assert server.post("/v1/judge", {**PAIR, "document": name}).status_code == 400, name


# --- many at once ----------------------------------------------------------------------------------------------------


def test_clients_at_once_get_what_each_gets_alone_from_a_local_model(pocket):
    from tiny_run import RULES, answer, call, spelt

    model, processor = load(pocket.folder)
    vocabulary = Vocabulary(processor.tokenizer, model.config.text_config.vocab_size)
    by_id = {task.id: task for task in pocket.tasks}

    def script(conversation):
        task = by_id[conversation.task_id]
        turn = answer(1 + len(task.id) % 2, "why " * (len(task.id) % 7)) if conversation.turns else call(task)
        return spelt(vocabulary, turn)

    chat = LocalModel(
        model, processor, Sampling(max_new_tokens=200, max_context=600), EngineSettings(max_slots=8), script=script
    )
    judge = Judge(chat, RULES)
    tasks = (pocket.tasks * 2)[:32]
    wanted = {task.id: verdict for task, verdict in zip(tasks, judge.judge_many(tasks, root=pocket.root), strict=True)}
    with Served(judge, files=pocket.root) as server:
        bodies = [json.loads(task.to_json()) for task in tasks]
        answers = at_once(lambda body: server.post("/v1/judge", body), bodies)
        assert [one.status_code for one in answers] == [200] * 32, answers[0].text
        for task, answered in zip(tasks, answers, strict=True):
            got, own = Verdict.from_json(answered.content), wanted[task.id]
            assert got.model_copy(update={"trajectories": ()}) == own.model_copy(update={"trajectories": ()})
            assert got.trajectory.steps == own.trajectory.steps and len(got.evidence) == 1
            read = [step.turn.prompt_tokens for step in got.trajectory.steps]
            assert 0 < read[0] < read[1], "each turn has read all that stands before it"
        assert server.settled()


def test_clients_that_hang_up_free_their_places_and_the_rest_is_served():
    model = Slow(0.3, in_flight=4)
    with Served(Judge(model)) as server:

        def ask(n):
            if n % 3:
                return httpx.post(f"{server.url}/v1/judge", json={**PAIR, "id": str(n)}, timeout=30).status_code
            line = socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])))
            body = json.dumps({**PAIR, "id": str(n), "question": "for ever"}).encode()
            head = "POST /v1/judge HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            line.sendall((head % len(body)).encode() + body)
            time.sleep(0.15)
            line.close()
            return None

        start = time.monotonic()
        answers = at_once(ask, list(range(12)))
        assert answers == [None, 200, 200] * 4
        assert time.monotonic() - start < 20, "those that would have taken 30 s have given up their places"
        assert server.settled() and model.open == []
        assert (
            sorted(line["status"] for line in server.lines() if line["route"] == "/v1/judge") == [200] * 8 + [499] * 4
        )


def test_a_long_batch_does_not_keep_a_single_request_waiting():
    with Served(Judge(Slow(0.05, in_flight=2))) as server:
        ended = []

        def ask(body):
            path = "/v1/judge/batch" if "tasks" in body else "/v1/judge"
            time.sleep(0 if "tasks" in body else 0.1)
            assert httpx.post(server.url + path, json=body, timeout=30).status_code == 200
            ended.append(path)

        at_once(ask, [{"tasks": [PAIR] * 30}, PAIR])
        assert ended == ["/v1/judge", "/v1/judge/batch"]


def test_a_line_that_is_too_long_is_told_when_to_come_again():
    model = Held(in_flight=1)
    with Served(Judge(model), queue=2) as server:
        with ThreadPoolExecutor(7) as pool:
            answers = [pool.submit(server.post, "/v1/judge", PAIR) for _ in range(7)]
            while "armlite_requests_waiting 2.0" not in server.http.get("/metrics").text:
                time.sleep(0.01)
            for path in ("/v1/judge", "/v1/chat/completions", "/v1/systemone"):
                questions = {"a": {"type": "noul"}}
                bodies = {"/v1/chat/completions": {"task": PAIR, "stream": True}, "/v1/judge": PAIR}
                refused = server.post(path, bodies.get(path, {"state": "x", "questions": questions}))
                assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1
                assert refused.json()["error"]["type"] == "rate_limit_error"
            model.go.set()
        assert [answer.result().status_code for answer in answers] == [200] * 7


def test_a_request_that_takes_too_long_is_ended_and_frees_its_place():
    model = Slow(0.1, in_flight=1)
    with Served(Judge(model), seconds=2) as server:
        answer = server.post("/v1/judge", {**PAIR, "question": "for ever"})
        assert answer.status_code == 504 and "the time for a request, 2 s, is over" in answer.text
        assert server.settled() and model.open == []
        assert server.post("/v1/judge", PAIR).status_code == 200


def test_a_model_that_is_gone_is_told_and_asked_again_by_the_next_request():
    state = {"down": True}

    def reply(conversation):
        if state["down"]:
            from armlite.errors import ArmliteError

            raise ArmliteError("nobody answers at http://judge:8000")
        return ANSWER

    with Served(Judge(ScriptedModel(reply))) as server:
        answer = server.post("/v1/judge", PAIR)
        assert answer.status_code == 503 and "nobody answers at http://judge:8000" in answer.json()["error"]["message"]
        state["down"] = False
        assert server.post("/v1/judge", PAIR).status_code == 200


# --- keys, health, metrics, log --------------------------------------------------------------------------------------


def test_a_key_is_asked_for_everywhere_but_where_health_is_told():
    with Served(Judge(ScriptedModel(says)), key="word") as server:
        for path, headers, status in (
            ("/health", {}, 200),
            ("/openapi.json", {}, 200),
            ("/metrics", {}, 401),
            ("/v1/models", {"authorization": "Bearer wörd".encode()}, 401),
            ("/v1/models", {"authorization": "Bearer word"}, 200),
            ("/v1/models", {"x-api-key": "word"}, 200),
        ):
            answer = server.http.get(path, headers=headers)
            assert answer.status_code == status, path
        assert server.post("/v1/judge", PAIR).json()["error"]["message"].startswith("the key is missing: send it as")
        wrong = server.post("/v1/judge", PAIR, headers={"authorization": "Bearer wort"})
        assert "the key is not the one of this server" in wrong.text and wrong.headers["www-authenticate"] == "Bearer"


def test_metrics_count_and_the_log_has_a_line_a_request_without_contents():
    with Served(Judge(ScriptedModel(says))) as server:
        body = {"id": "row", "question": "Zanzibar?", "responses": ["Ulm", "Bern"], "image": data_url(png())}
        name = server.post("/v1/judge", body).headers["x-request-id"]
        server.post("/v1/judge", {"question": "Zanzibar?"})
        server.http.get("/Zanzibar?Zanzibar=1")
        text = server.http.get("/metrics").text
        for line in (
            'armlite_requests_total{route="/v1/judge",status="200"} 1.0',
            'armlite_requests_total{route="/v1/judge",status="400"} 1.0',
            'armlite_requests_total{route="other",status="404"} 1.0',
            'armlite_request_seconds_count{route="/v1/judge"} 2.0',
            'armlite_tool_calls_total{ok="true",tool="image_zoom_in_tool"} 1.0',
            'armlite_verdicts_total{kind="pairwise",status="judged"} 1.0',
            'armlite_tokens_total{kind="completion"} 0.0',
            "armlite_requests_waiting 0.0",
            "armlite_judgments_in_flight 0.0",
        ):
            assert line in text.splitlines()
        first, second, third = server.lines()[:3]
        assert (first["id"], first["trajectory"], first["status"]) == (name, "row", 200)
        assert (second["status"], third["status"], third["route"]) == (400, 404, "other")
        assert "Zanzibar" not in server.log.getvalue() and "Ulm" not in server.log.getvalue()


def test_trajectories_are_kept_where_that_is_asked_for(tmp_path, run):
    with Served(Judge(ScriptedModel(says)), save=tmp_path / "kept") as server:
        name = server.post("/v1/judge", {**PAIR, "image": data_url(png())}).headers["x-armlite-trajectory"]
        at_once(lambda n: server.post("/v1/judge", {**PAIR, "question": f"{n}?"}), list(range(8)))
    code, out, _ = run("view", str(tmp_path / "kept"), "--id", name)
    assert code == 0 and "image_zoom_in_tool" in out
    assert len((tmp_path / "kept" / "trajectories.jsonl").read_text().splitlines()) == 9


# --- the command -----------------------------------------------------------------------------------------------------

SLOW_MODEL = """
import sys
sys.path.insert(0, {tests!r})
from serving import Slow
from armlite import chat_model

@chat_model
def slow(name, sampling):
    return Slow(1.0)
"""


def test_sigterm_lets_what_is_in_flight_end_and_takes_nothing_new(tmp_path):
    own = tmp_path / "slow_model.py"
    own.write_text(SLOW_MODEL.format(tests=os.path.dirname(__file__)))
    words = [sys.executable, "-m", "armlite", "serve", "--import", str(own), "--model", "slow:x", "--port", "0"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    try:
        line = next(line for line in process.stderr if line.startswith("listening on "))
        url = line.split()[-1]
        answers = []
        asking = threading.Thread(target=lambda: answers.append(httpx.post(f"{url}/v1/judge", json=PAIR, timeout=30)))
        asking.start()
        while httpx.get(f"{url}/health").json()["in_flight"] == 0:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.4)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/health")
        asking.join()
        assert answers[0].status_code == 200 and answers[0].json()["choice"] == 1
        assert process.wait(timeout=20) == 0
        assert process.stderr.read().splitlines()[-1] == "stopped"
    finally:
        process.kill()
        process.wait()


def test_a_request_that_is_read_while_the_server_stops_ends_before_it_without_a_traceback(monkeypatch, caplog):
    from armlite.serve import judging

    begun, read = threading.Event(), judging.read_judgment

    def slowly(*given):
        begun.set()
        time.sleep(0.5)
        return read(*given)

    monkeypatch.setattr(judging, "read_judgment", slowly)
    with Served(Judge(ScriptedModel(says))) as server:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.url}/v1/judge", json=PAIR, timeout=0.2)
        assert begun.is_set()
    time.sleep(0.6)
    assert not caplog.records, "its thread had a loop to tell that it has ended"


def test_a_full_collection_while_it_serves_passes_over_what_was_loaded_before():
    model, seen = ScriptedModel(says), []
    collected = lambda: any(one is model for one in gc.get_objects())  # noqa: E731

    def ask(url):
        try:
            seen.extend([httpx.post(f"{url}/v1/judge", json=PAIR, timeout=30).status_code, collected()])
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def say(line):
        if line.startswith("listening on "):
            threading.Thread(target=ask, args=(line.split()[-1],)).start()

    serve(Judge(model), ServeSettings(), "127.0.0.1", 0, say)
    assert seen == [200, False]
    assert collected(), "and is as it was when it has stopped"


def test_what_was_judged_is_let_go_of_without_a_collection(served):
    def episodes():
        return sum(type(one) is Episode for one in gc.get_objects())

    gc.collect()
    before = episodes()
    gc.disable()
    try:
        assert [served.post("/v1/judge", SHOWN).status_code for _ in range(12)] == [200] * 12
        assert episodes() <= before + 2, "the engine's thread still knows the last one"
    finally:
        gc.enable()


def test_mistakes_of_whoever_starts_it_are_one_sentence(run, tmp_path, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for words, said in (
            (["--model", str(tmp_path), "--port", port], f"cannot listen on 127.0.0.1:{port} (Address already in use)"),
            (["--model", str(tmp_path), "--port", "0"], "holds no model"),
            (["--model", "x", "--host", "no.such.host.invalid"], "cannot listen on no.such.host.invalid:8765"),
            (["--model", "x", "--api-key-env", "NO_SUCH_KEY"], "the environment variable NO_SUCH_KEY is not set"),
            (["--model", "x", "--files", str(tmp_path / "no")], "there is no such folder"),
            (["--model", "x", "--limit", "que=3"], "there is no such limit. Did you mean 'queue'?"),
            (["--model", "x", "--limit", "queue=-3"], "greater than or equal to 1, as queue=128"),
        ):
            code, out, err = run("serve", *words)
            assert (code, out) == (2, "") and said in err.splitlines()[-1], err
            assert is_one_line(err.splitlines()[-1] + "\n", "error: ")


# --- made up requests ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def watch():
    return Watch()


@pytest.mark.parametrize("seed", range(2))
def test_no_request_makes_it_fail_open_a_path_or_ask_another_machine(strict, watch, seed):
    port = int(strict.url.rpartition(":")[2])
    cases = Cases(strict.http.get("/openapi.json").json(), seed)
    asked = list(cases.requests(80))
    strict.post("/v1/judge", PAIR)  # what is imported by the first request is no path of a client's
    watch.seen.clear()
    watch.on = True
    try:
        answers = [(strict.post(path, body), body) for path, body in asked]
    finally:
        watch.on = False
    assert [(a.status_code, body) for a, body in answers if a.status_code >= 500] == []
    assert {event for event in watch.seen if str(port) not in event[1]} == set()
    assert sum(a.status_code == 200 for a, _ in answers) >= 5, "some of them are requests that can be answered"
    for answer, _ in answers:
        assert answer.status_code == 200 or "\n" not in answer.json()["error"]["message"]
