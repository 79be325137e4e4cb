"""Page recall of the document tool: on a small PDF with known figures, on the real slice, and what can be missing."""

import json

import pytest
from make_pdf import write_pdf

from armlite.cli import main
from armlite.errors import ArmliteError, DataError
from armlite.evals.retrieval import evaluate_retrieval

PAGES = ["apples and pears", "the lighthouse of Alexandria", "steam engines", "a lighthouse keeper's wage", "nothing"]


def run(*arguments):
    with pytest.raises(SystemExit) as status:
        main(["eval", "--benchmark", "retrieval", *map(str, arguments)])
    return status.value.code or 0


def sample(question, pages, sources="['Chart']", doc_id="a.pdf"):
    return {
        "doc_id": doc_id,
        "doc_type": "Guidebook",
        "question": question,
        "answer": "x",
        "evidence_pages": pages,
        "evidence_sources": sources,
        "answer_format": "Str",
    }


def folder_of(tmp_path, *samples):
    (tmp_path / "documents").mkdir()
    write_pdf(tmp_path / "documents/a.pdf", PAGES)
    (tmp_path / "samples.json").write_text(json.dumps(samples))
    return tmp_path


def test_recall_is_the_mean_over_questions_of_the_share_of_evidence_pages_found(tmp_path):
    folder = folder_of(
        tmp_path,
        sample("Where do pears and apples grow?", "[1]", "['Pure-text (Plain-text)']"),
        sample("What is said of a steam engine?", "[3, 5, 0, 1418]"),
        sample("Which engine?", "[0]"),
        sample("How many keepers?", "[]", "[]"),
    )
    found = evaluate_retrieval(folder)
    # Page 1 is found: 100. Of pages 3 and 5 the first is found, the empty one cannot be: 50. The others do not count:
    # page 0 is outside of the document, and the last question has no evidence.
    assert found["questions"] == 2
    assert (found["recall@1"], found["any@5"]) == (75.0, 100.0)
    assert found["by_source"]["Chart"] == {"n": 1, "recall@1": 50.0, "recall@3": 50.0, "recall@5": 50.0, "any@5": 100.0}
    assert (found["documents"], found["pages"]) == (1, 5)
    assert found["seconds_per_query"] > 0 and found["seconds_per_page"] > 0


def test_another_ranker_goes_in_at_the_same_place(tmp_path):
    folder = folder_of(tmp_path, sample("Where do pears grow?", "[5]"))
    assert evaluate_retrieval(folder)["any@5"] == 0.0
    assert evaluate_retrieval(folder, ranker=lambda index, query: [(5, 1.0), (1, 0.5)])["recall@1"] == 100.0


def test_without_a_question_that_counts_figures_are_undefined(tmp_path, capsys):
    folder = folder_of(tmp_path, sample("Which engine?", "[9]"))
    assert run("--path", folder, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["questions"], found["recall@5"], found["seconds_per_query"]) == (0, None, None)
    assert run("--path", folder) == 0
    assert "n/a" in capsys.readouterr().out


def test_missing_documents_are_all_named(tmp_path, capsys):
    samples = [sample("Who?", "[1]", doc_id=f"{name}.pdf") for name in ("a", "beta", "gamma", "beta")]
    assert run("--path", folder_of(tmp_path, *samples)) == 2
    said = capsys.readouterr().err
    assert "2 of 3 documents are missing" in said and said.endswith(": beta.pdf, gamma.pdf\n")


BROKEN = {
    "a question that is no text": ({"question": 7.5}, "row 1, field question"),
    "pages that are no list": ({"evidence_pages": "page two"}, "row 1, field evidence_pages"),
    "pages that are no numbers": ({"evidence_pages": "['two']"}, "row 1, field evidence_pages"),
    "code for pages": ({"evidence_pages": "__import__('os').getpid()"}, "row 1, field evidence_pages"),
    "a document outside of the folder": ({"doc_id": "../../secret.pdf"}, "row 1, field doc_id"),
}


@pytest.mark.parametrize(("change", "said"), BROKEN.values(), ids=BROKEN)
def test_a_broken_sample_is_named(change, said, tmp_path):
    with pytest.raises(DataError, match=said):
        evaluate_retrieval(folder_of(tmp_path, sample("Who?", "[1]") | change))


def test_a_folder_without_samples_is_refused(tmp_path):
    with pytest.raises(ArmliteError, match="there is no folder"):
        evaluate_retrieval(tmp_path / "nowhere")
    with pytest.raises(ArmliteError, match=r"holds no samples\.json"):
        evaluate_retrieval(tmp_path)
    (tmp_path / "samples.json").write_text("{")
    with pytest.raises(ArmliteError, match="is not JSON"):
        evaluate_retrieval(tmp_path)


def test_the_search_beats_plain_bm25_on_real_documents(shared, capsys):
    assert run("--path", shared / "mmlongbench-dev", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    # A plain BM25 on whole pages of text layer gives 26.6 / 46.1 / 55.3 on these questions.
    assert found["questions"] == 97
    assert found["recall@5"] >= (84 if found["ocr"] else 68)
    assert found["recall@1"] < found["recall@3"] < found["recall@5"] < found["any@5"]
    assert set(found["by_source"]) >= {"Chart", "Table", "Figure", "Pure-text (Plain-text)"}
    assert found["seconds_per_query"] < 0.05
