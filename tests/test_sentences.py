"""The bundled sentence splitter, and which splitter is used where."""

import os
import subprocess
import sys
import time

import pytest

from armlite.tools.checks.measures import sentences
from armlite.tools.checks.sentences import installed_splitter, split_sentences
from armlite.tools.checks.verifiers import check

# `|` marks the boundaries; the space after it is not part of the text.
PROSE = [
    ("titles", "Dr. Ada met Mr. and Mrs. Poe at St. Anne Rd. at noon.| They sat."),
    ("initials", "J. K. Poe read W. H. Ode and Adam P. Quill.| So did I.| Then we left."),
    ("capital letters that are labels", "Response A. is short.| I prefer Plan B.| Nobody liked Option C."),
    ("acronyms inside and at the end", "The U.S. Army left the U.S.| The end came at 5 p.m. on Monday."),
    ("degrees", "She has a Ph.D. in art.| He has a Ph.D.| They argue."),
    ("latin", "Use fruit, e.g. Apples, i.e. pomes, cf. Quinces.| Add nuts, seeds, etc.| Stir."),
    ("et al. before a year", "Poe et al. (2020) agree.| Quill et al. [3] do not."),
    ("numbered things", "See Fig. 3, Eq. (2), pp. 4 and No. 5.| No.| I will not."),
    ("months and measures", "On Jan. 5 it took 5 min. to boil 3 oz. of tea.| In Feb.| Nothing."),
    ("companies", "Acme Inc. Labs sued Poe & Co. in May.| It lost to Acme Inc.| The end."),
    ("decimals and versions", "Pi is 3.14, not 3.| Version 2.0.1 is out.| It costs $1,000.50."),
    ("a number at the end", "It began in 2024.| Then it ended."),
    ("a number before a small letter", "Rule 2. applies here."),
    ("ellipses", "Wait... what?| Well...| No.| I was... I am not sure . . . really."),
    ("marks in a row", "Really?!| Yes!!!| Stop!| go on?| ok."),
    ("quotations", 'He said "Go."| She went.| “Why?” he asked.| ‘Because.’| (Nobody knew.)| Then silence.'),
    ("possessives and contractions", "They can't.| It is the dogs'.| Don't."),
    ("markdown and footnotes", "**Bold.** |A claim.[1] |*Next one.*| `code.py` runs."),
    ("a lone newline", "A title\nand text\n- a bullet\n- another."),
    ("a blank line after a mark", "Nuts, etc.\n\n|gone"),
    ("other scripts have no boundary", "你好。世界。 再见… Yes."),
    ("no space no boundary", "See www.example.com/a.b or end.Next word."),
    ("an unfinished end", "One.| Two"),
]


@pytest.mark.parametrize(("what", "marked"), PROSE, ids=[what for what, _ in PROSE])
def test_the_bundled_splitter_splits(what, marked):
    wanted = [part.strip() for part in marked.split("|")]
    assert split_sentences(marked.replace("|", ""), "regex") == wanted


@pytest.mark.parametrize("text", ["", " \n\t "])
def test_an_empty_text_has_no_sentences(text):
    assert split_sentences(text, "regex") == split_sentences(text) == []


@pytest.mark.parametrize("unit", [".", ". ", "a. ", " ", '."', "!\n", "a", ".[1"])
def test_degenerate_text_takes_no_more_than_a_moment(unit):
    start = time.perf_counter()
    split_sentences(unit * (60_000 // len(unit)) + "x", "regex")
    assert time.perf_counter() - start < 3


PUNKT = {
    "abbrev_types.txt": "dr\n",
    "collocations.tab": "",
    "sent_starters.txt": "the\n",
    "ortho_context.tab": "the\t62\n",
}
PROBE = """
from armlite.tools.checks.sentences import installed_splitter, split_sentences
from armlite.tools.checks.verifiers import check
name = "check_whether_response_sentence_number_in_range"
checks = [check(name, '"Go!" he said.', mode, lower_bound=1, upper_bound=1) for mode in ("engine", "tool", "strict")]
print(installed_splitter(), split_sentences('"Go!" said Dr. Poe. Hm.'))
print(*(f"{c.splitter}:{c.ok}" for c in checks))
"""


def test_nltk_is_used_where_its_data_is_but_never_in_strict_mode(tmp_path):
    pytest.importorskip("nltk")
    folder = tmp_path / "tokenizers" / "punkt_tab" / "english"
    folder.mkdir(parents=True)
    for name, content in PUNKT.items():
        (folder / name).write_text(content)
    environment = os.environ | {"NLTK_DATA": str(tmp_path)}
    answer = subprocess.run([sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines() == [
        "nltk ['\"Go!\"', 'said Dr. Poe.', 'Hm.']",
        "nltk:False nltk:False regex:True",
    ]


RECORDED = [
    # `|` where nltk 3.10.4 with its own punkt_tab splits (recorded 2026-11-26), and how many the bundled one finds.
    ('"Go!"| he said.', 1),
    ("He left at 5 p.m. on Monday.| She stayed.", 2),
    ("Dr. Poe et al.| wrote it.| See Fig.| 3.| I am not sure .| .| .| really.", 3),
    ("Use e.g.| apples.| Etc.| is fine.", 2),
    ("I work at Acme Inc.| In May it fell.", 2),
    ("Is it?| Yes!!| No.5 is in.| It is 3 a.m. Go.", 4),
]
NOTHING = """
import sys
sys.modules["nltk"] = None
from armlite.tools.checks.sentences import installed_splitter, split_sentences
print(installed_splitter(), split_sentences("One. Two."))
split_sentences("One. Two.", "nltk")
"""


@pytest.mark.parametrize(("marked", "bundled"), RECORDED)
def test_the_extra_splits_as_nltk_with_its_own_data(marked, bundled, monkeypatch):
    pytest.importorskip("punkt")
    assert installed_splitter() == "nltk"
    text = marked.replace("|", "")
    assert split_sentences(text) == [part.strip() for part in marked.split("|")]
    for mode in ("engine", "tool"):
        count = len(marked.split("|"))
        result = check(
            "check_whether_response_sentence_number_in_range", text, mode, lower_bound=count, upper_bound=count
        )
        assert (result.ok, result.splitter) == (True, "nltk")
    assert len(split_sentences(text, "regex")) == bundled


def test_asking_for_a_missing_nltk_says_what_to_install():
    answer = subprocess.run([sys.executable, "-c", NOTHING], capture_output=True, text=True)
    assert answer.stdout.strip() == "regex ['One.', 'Two.']"
    assert "pip install 'armlite[sentences]'" in answer.stderr


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("你好。我很好！真的？", 3),
        ("「本当？」と言った。そう。", 2),
        ("他说：“你好。” 再见。", 2),
        ("यह है। वह है।", 2),
        ("هل هذا صحيح؟ نعم.", 2),
        ("行。Next one. Then 3.5 of it.", 3),
    ],
)
def test_strict_counts_sentences_of_other_scripts(text, count):
    assert len(sentences(text, "strict")) == count
    assert "".join(sentences(text, "strict")).replace(" ", "") == text.replace(" ", "")
