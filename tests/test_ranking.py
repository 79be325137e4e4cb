"""Ranking of pages: what questions ask for, and what words match. For real documents see `test_retrieval`."""

import time

import pytest
from make_pdf import write_pdf

from armlite.tools.documents import ocr
from armlite.tools.documents.numbering import Numbering
from armlite.tools.documents.page_text import PageText
from armlite.tools.documents.pages import open_document
from armlite.tools.documents.passages import PageIndex, excerpt
from armlite.tools.documents.pdf import readable
from armlite.tools.documents.query import parse
from armlite.tools.documents.ranking import rank
from armlite.tools.documents.words import stem, terms, words


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ARMLITE_CACHE", str(tmp_path / "cache"))


def index(*texts: str, **extra) -> PageIndex:
    return PageIndex([PageText(text=text, source="text" if text else "none", **extra) for text in texts])


def best(found: PageIndex, query: str) -> int:
    return rank(found, query)[0][0]


@pytest.mark.parametrize(
    "family",
    [
        "organization organizations organise organized organizing",
        "dividend dividends",
        "operate operates operating operation operations operator",
        "company companies",
        "attend attends attended attending",
        "repurchase repurchased repurchases repurchasing",
        "run running",
        "process processes processed processing",
        "appendix appendices",
        "base bases based",
    ],
)
def test_words_of_a_family_share_a_stem(family):
    assert len({stem(word) for word in family.split()}) == 1


@pytest.mark.parametrize("pair", ["price practice", "2019 2018", "class clause", "nation native", "table tablet"])
def test_different_words_keep_different_stems(pair):
    assert len({stem(word) for word in pair.split()}) == 2


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1,234.5 and 12,345,678", ["1234.5", "and", "12345678"]),
        ("3,14", ["3.14"]),
        ("Three of the first 2nd", ["3", "of", "the", "1st", "2nd"]),
        ("FastNms in loss_cls", ["fast", "nms", "in", "loss", "cls"]),
        ("R&D in the U.S. in FY2019", ["rd", "in", "the", "us", "in", "fy", "2019"]),
        ("Café ﬁnance", ["cafe", "finance"]),
        ("pre-trained", ["pre", "trained"]),
        ("", []),
    ],
)
def test_words_are_normalised(text, found):
    assert words(text) == found


def test_terms_leave_out_what_carries_no_topic():
    assert terms("What is the name of the governor?") == [stem("name"), "governor"]


@pytest.mark.parametrize(
    ("question", "pages", "positions"),
    [
        ("What is on page 14?", (14,), ()),
        ("the diagram on Page two", (2,), ()),
        ("at the beginning of page(1)?", (1,), ()),
        ("see pages 3-5", (3, 5), ()),
        ("slide 4", (4,), ()),
        ("on p. 12", (12,), ()),
        ("Is there a signature on the last page?", (), (-1,)),
        ("the figure at Page at the second last", (), (-2,)),
        ("the second to last page", (), (-2,)),
        ("the governor on the first page", (), (1,)),
        ("the 3rd slide", (), (3,)),
        ("How many people are on the cover?", (), (1,)),
        ("websites on the cover page", (), (1,)),
        ("Which topics does the report cover?", (), ()),
        ("a page about 2010", (), ()),
        ("500 pages", (), ()),
    ],
)
def test_questions_that_name_pages(question, pages, positions):
    asked = parse(question)
    assert (asked.pages, asked.positions) == (pages, positions)


@pytest.mark.parametrize(
    ("question", "captions"),
    [
        ("In Figure 3, what", (("figure", "3"),)),
        ("fig. 3 and Table 1-1", (("figure", "3"), ("table", "1-1"))),
        ("Section 2.1", (("section", "2.1"),)),
        ("in Appendix C.", (("appendix", "C"),)),
        ("the table a user sees", ()),
        ("a table of figures", ()),
    ],
)
def test_questions_that_name_captions(question, captions):
    assert parse(question).captions == captions


def test_sentences_about_the_form_of_the_answer_are_not_searched_for():
    asked = parse("How many items are sold? Please write the answer in int format.")
    assert "item" in asked.weights
    assert "int" not in asked.weights
    assert "answer" not in asked.weights
    assert parse("Give me a list.").weights, "a question of nothing else is kept"


SCRIPTS = {
    "Chinese": ("公司的总部设在上海。", "去年的收入增长了百分之十。", "收入"),
    "Chinese, one character": ("他养了一只狗。", "她喜欢猫和鸟。", "猫"),
    "Japanese": ("本社は東京都にあります。", "売上高は前年より増加した。", "売上高はいくらですか"),
    "Thai": ("สำนักงานใหญ่อยู่ที่กรุงเทพ", "รายได้เพิ่มขึ้นจากปีก่อน", "รายได้"),
    "Hindi": ("मुख्यालय दिल्ली में है।", "पिछले साल आय बढ़ी।", "आय कितनी बढ़ी"),
    "Tamil": ("தலைமையகம் சென்னையில் உள்ளது.", "வருமானம் அதிகரித்தது.", "வருமானம்"),
    "Korean": ("본사는 서울에 있습니다.", "매출은 작년보다 증가했다.", "매출 증가"),
    "Arabic": ("المقر في القاهرة.", "زادت الإيرادات كثيرا.", "الإِيرادات"),
}


@pytest.mark.parametrize(("other", "page", "query"), SCRIPTS.values(), ids=SCRIPTS)
def test_every_script_can_be_searched(other, page, query):
    found = index(other, other, "Something else.", page)
    assert best(found, query) == 4
    assert all(score < rank(found, query)[0][1] for _, score in rank(found, query)[1:])


def test_voicing_and_vowel_signs_tell_words_apart():
    assert set(words("かき")) != set(words("がき")) and words("ガス") == words("ｶﾞｽ")
    assert words("कल") != words("काल") and words("हिन्दी") == ["हिन्दी"]
    assert words("naïve Ärger") == ["naive", "arger"]


def test_a_page_that_a_question_names_in_chinese_or_japanese_comes_first():
    assert parse("第3页的表格").pages == parse("第3ページの表").pages == (3,)


def test_the_page_about_the_subject_comes_first_and_unrelated_pages_not_at_all():
    found = index("Apples and pears grow here.", "Penguins live in the south.", "", "Trains are late again.")
    assert rank(found, "Where do penguins live?")[0][0] == 2
    assert {page for page, _ in rank(found, "Where do penguins live?")} <= {1, 2, 3}
    assert rank(found, "quantum") == []
    assert rank(found, "the") == []
    assert rank(index(""), "apples") == []


def test_scores_fall_and_ties_keep_page_order():
    found = index(*["the same words on every page"] * 4)
    ranked = rank(found, "same words")
    assert [s for _, s in ranked] == sorted((s for _, s in ranked), reverse=True)
    assert sorted(p for p, _ in ranked) == [1, 2, 3, 4]
    assert rank(found, "same words") == ranked


def test_words_that_stand_together_beat_the_same_words_apart():
    filler = " ".join(f"word{n}" for n in range(80))
    found = index(f"red {filler} apple {filler} pie", f"{filler} red apple pie {filler}", f"{filler} {filler}")
    assert best(found, "red apple pie") == 2


def test_a_caption_beats_a_mention_and_a_table_of_contents():
    contents = "\n".join(f"Figure {n} . . . . . . . . {n + 3}" for n in range(1, 8))
    found = index(
        contents, "As Figure 3 shows, all is well.", "Figure 3: Growth of wheat\n1 2 3", "Figure 31: Rye", "end"
    )
    assert best(found, "What does Figure 3 show?") == 3
    assert 4 not in [page for page, _ in rank(found, "What does Figure 3 show?")][:2]


def test_a_section_is_found_by_its_number_before_a_title():
    found = index("2 34 56\n3 12 99", "see Section 2 for more", "2 Background and aims\nlong ago", "12 Outlook\nlater")
    assert [page for page, _ in rank(found, "What does section 2 say?")][:2] == [3, 2]


def test_a_heading_beats_a_passing_word():
    body, filler = "a line about other matters entirely", "and the text goes on as before"
    texts = [
        f"{body}\nsomewhere harvest is a word\n{filler}",
        f"Harvest\n{body}\n{filler}",
        f"{body}\n{body}\n{filler}",
    ]
    pages = [PageText(text=t, source="text", heights=(18.0 if t[0] == "H" else 10.0, 10.0, 10.0)) for t in texts]
    assert best(PageIndex(pages), "harvest") == 2


def test_one_slip_of_the_pen_is_forgiven():
    found = index("The government acted.", "The program of the opera.", "Nothing else happened.")
    assert best(found, "goverment") == 1
    assert best(found, "programme") == 2
    assert best(found, "goverment acted") == 1


def test_printed_page_numbers_come_before_counted_ones():
    texts = ["Cover", "Contents", "Preface"] + [f"Some text of this page here\nmore of it\n{n}" for n in range(1, 8)]
    found = index(*texts)
    assert found.numbering.find(2) == [5, 2]
    assert best(found, "What is on page 2?") == 5
    assert rank(found, "What is on page 2?")[1][0] == 2
    assert best(found, "What is on the last page?") == 10
    assert best(found, "What is on the cover page?") == 1


def test_double_pages_hold_two_numbers():
    pages = [PageText(text=f"{2 * n}\nleft and right\n{2 * n + 1}", source="text") for n in range(1, 9)]
    assert Numbering(pages).find(8)[0] == 4
    assert Numbering(pages).find(9)[0] == 4


def test_declared_page_labels_are_used():
    labels = ["1", "i", "ii", "1", "2", "3"]
    assert Numbering([PageText(label=label) for label in labels]).find(2) == [5, 2]
    assert Numbering([PageText(label=label) for label in labels]).find(1) == [4, 1]


def test_years_and_amounts_are_no_page_numbers():
    texts = [f"Report {2010 + n}\ntext\nIncome was {17 * n}" for n in (1, 4, 2, 9, 3)]
    assert index(*texts).numbering.find(3) == [3]


def test_a_font_without_letters_is_not_text():
    assert readable("A line of common text, 12 %.")
    assert readable("7")
    assert not readable("")
    assert not readable(" - ")
    assert not readable("\x01\x04 \x05\x06\x04\x07 abc \x08\t\x04\n \x0b\x0c\r\x07" * 5)


def test_an_excerpt_keeps_to_its_length_and_holds_the_match():
    lines = [f"This is line number {n} of a long text." for n in range(100)]
    lines[70] = "Here the penguins are counted: 42 penguins in all."
    text = "\n".join(lines)
    for length in (60, 100, 300, 1000):
        piece = excerpt(text, "How many penguins?", length)
        assert len(piece) <= length
        assert "penguins are counted" in piece
    assert excerpt(text, "", 200).startswith("This is line number 0")
    assert excerpt("short", "x", 100) == "short"
    assert excerpt(text, "penguins", 0) == ""
    assert len(excerpt(text, "penguins", 10)) == 10
    assert excerpt(text, "number 99", 200).endswith("line number 99 of a long text.")


def test_a_long_document_is_indexed_and_searched_in_time():
    page = "\n".join(
        f"Item {n} of the {'abcdefghij'[n % 10]}{n}th account has a value of {n * 37} in 2019." for n in range(60)
    )
    started = time.perf_counter()
    found = index(*[f"{page}\nPage subject{n}" for n in range(200)])
    assert time.perf_counter() - started < 20
    started = time.perf_counter()
    for n in range(20):
        assert best(found, f"Which account names subject{n} and misspeltt words?") == n + 1
    assert (time.perf_counter() - started) / 20 < 0.05


PAPERS = {
    "Japanese": (
        "# 本社\n本社は東京都千代田区にあります。",
        "# 業績\n売上高は前年より増加した。",
        "# 配当\n配当金は一株当たり五円です。",
        "配当はいくらですか",
    ),
    "Chinese": (
        "# 总部\n公司的总部设在上海。",
        "# 收入\n去年的收入增长了百分之十。",
        "# 员工\n员工人数为三千人。",
        "员工有多少人",
    ),
    "Hindi": (
        "# मुख्यालय\nमुख्यालय दिल्ली में है।",
        "# आय\nपिछले साल आय बढ़ी।",
        "# कर्मचारी\nतीन हजार कर्मचारी काम करते हैं।",
        "कितने कर्मचारी हैं",
    ),
}


@pytest.mark.parametrize("language", PAPERS)
def test_a_page_of_a_document_in_another_script_is_found(language, tmp_path, monkeypatch):
    monkeypatch.setattr(ocr, "available", lambda: False)  # its glyphs are blank, and it would look for more
    *pages, question = PAPERS[language]
    document = open_document(write_pdf(tmp_path / "paper.pdf", ["Cover.", *pages, "The end."]))
    assert document.search(question)[0][0] == 4
    assert pages[2].split("\n")[1] in document.text(4)
