"""What the page of a whole run costs in headless Chromium: `python tests/real/page.py RUN --axe axe.min.js --write`.

Needs `pip install playwright`, a Chromium (`apt-get install chromium`; playwright brings none here) and, for `--axe`,
axe-core of npm (`npm install axe-core`). Asserts nothing of speed: it measures, compares the page's reading of
`--where` with the terminal's, and keeps screenshots to look at.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kit import keep, say
from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[2]))

from armlite.view.page import write
from armlite.view.selection import Chosen, Selection, gather, select

WINDOW = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
QUERIES = (
    "status=failed and stage=grpo1",
    "tool=zoom and round=grpo and reward<1 or stage=base",
    "stage=sft,grpo2 and outcome!=right",
    "id~'zoom-1' and turns>=2",
    "advantage>0.5 and step<=3",
    "family=document or failed_calls>0",
    "reward.answer=0.7 and step=5",
    "model!=policy",
)
SEARCH = "STRIPES"
STEP = """async key => {
  const name = () => document.querySelector('.pair article')?.dataset.number;
  const before = name(), start = performance.now();
  document.body.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true}));
  while (name() === before && performance.now() < start + 5000) await new Promise(requestAnimationFrame);
  await Promise.all([...document.querySelectorAll('.pair img')].map(i => i.decode()));
  await new Promise(requestAnimationFrame);
  return performance.now() - start;
}"""
"""Milliseconds from a key to the next trajectory, its pictures decoded and a frame drawn."""
CHOOSE = """async ([field, value]) => {
  const start = performance.now();
  form[field].value = value;
  await refilter();
  await new Promise(requestAnimationFrame);
  return performance.now() - start;
}"""
AXE = "async () => (await axe.run()).violations.map(v => [v.id, v.impact, v.nodes.map(n => n.html.slice(0, 120))])"


def descendants() -> list[int]:
    """Processes of the browser that this process has started, by way of playwright's driver."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
                exe = os.readlink(entry / "exe")
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1]), exe
    found = []
    for pid, (_, exe) in parents.items():
        at = pid
        while at in parents and at != os.getpid():
            at = parents[at][0]
        if at == os.getpid() and "chrom" in exe:
            found.append(pid)
    return found


def pss() -> float:
    """MB of memory of all of the browser's processes, shared pages by share."""
    total = 0
    for pid in descendants():
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total / 1000


@contextmanager
def browser(chromium: str, size: dict[str, int] = WINDOW, scheme: str = "light") -> Iterator[Page]:
    """A page of a fresh headless browser."""
    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = opened.new_page(viewport=size, color_scheme=scheme)
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
        yield page
        if faults:
            raise SystemExit(f"the page complains: {faults}")
        opened.close()


def ready(page: Page, url: str) -> float:
    """Seconds until the first trajectory of a page stands, by the page's own clock."""
    page.goto(url)
    while not (found := page.evaluate("document.documentElement.dataset.ready")):
        time.sleep(0.05)
    return int(found) / 1000


def load_and_memory(chromium: str, url: str) -> dict[str, Any]:
    with browser(chromium) as page:
        page.goto("about:blank")
        time.sleep(2)
        empty = pss()
    seconds, memory = [], []
    for _ in range(3):
        with browser(chromium) as page:
            seconds.append(ready(page, url))
            time.sleep(2)
            memory.append(pss() - empty)
    return {
        "empty_page_megabytes": round(empty),
        "seconds_to_open": [round(s, 2) for s in seconds],
        "megabytes_more_than_empty": [round(m) for m in memory],
    }


def steps(page: Page) -> dict[str, Any]:
    taken = [page.evaluate(STEP, "n") for _ in range(100)]
    page.evaluate(
        "async () => { for (const name of SELECTS) choice(name).value = ''; await refilter(); await show(shown[0]); }"
    )
    wrong = [page.evaluate(STEP, "w") for _ in range(5)]
    return {
        "next_milliseconds": {
            "median": round(statistics.median(taken)),
            "largest": round(max(taken)),
            "of": len(taken),
        },
        "next_wrong_milliseconds": round(max(wrong)),
    }


def choices(page: Page, chosen: Chosen) -> dict[str, Any]:
    """Filters and search: how long they take, and whether page and terminal find the same rows."""
    page.evaluate("for (const name of SELECTS) choice(name).value = ''")
    first = page.evaluate(CHOOSE, ["search", SEARCH])
    again = page.evaluate(CHOOSE, ["search", SEARCH.lower()[:-1]])
    found = {SEARCH: [page.evaluate("shown.length"), len(select(chosen.everything, Selection(search=SEARCH)))]}
    page.evaluate(CHOOSE, ["search", ""])
    taken = []
    for query in QUERIES:
        taken.append(page.evaluate(CHOOSE, ["where", query]))
        rows = list(chosen.everything)
        wanted = {id(e) for e in select(rows, Selection(where=query))}
        theirs = page.evaluate("shown")
        if [i for i, entry in enumerate(rows) if id(entry) in wanted] != theirs:
            raise SystemExit(f"{query}: the page finds {len(theirs)} rows, the terminal {len(wanted)}")
        found[query] = [len(theirs), len(wanted)]
    page.evaluate(CHOOSE, ["where", ""])
    order = page.evaluate("async () => { form.sort.value = '-reward'; await refilter(); return shown.slice(0, 50); }")
    ours = [chosen.everything.index(e) for e in select(chosen.everything, Selection(sort="-reward", n=50))]
    if order != ours:
        raise SystemExit(f"sorted by reward the page begins with {order[:5]}, the terminal with {ours[:5]}")
    return {
        "first_search_milliseconds": round(first),
        "next_search_milliseconds": round(again),
        "filter_milliseconds": round(max(taken)),
        "found_by_page_and_terminal": found,
    }


def looks(chromium: str, url: str, folder: Path, axe: Path | None) -> dict[str, Any]:
    """Screenshots in light, dark and on a phone, and what axe complains about."""
    complaints = {}
    for name, size, scheme in (("light", WINDOW, "light"), ("dark", WINDOW, "dark"), ("phone", PHONE, "light")):
        with browser(chromium, size, scheme) as page:
            ready(page, url)
            time.sleep(0.5)
            page.screenshot(path=folder / f"{name}.png")
            if axe is not None:
                page.evaluate(axe.read_text("utf-8"))
                complaints[name] = page.evaluate(AXE)
            if name == "light":
                page.evaluate(
                    "async () => { form.beside.value = form.beside.options[2]?.value || ''; await show(current); }"
                )
                page.screenshot(path=folder / "beside.png")
                page.evaluate(
                    "async () => { form.beside.value = '';"
                    " const n = index.fields.advantage?.at.findIndex(at => at >= 0);"
                    " if (n >= 0) await show(n); document.querySelector('.group').scrollIntoView(); }"
                )
                page.screenshot(path=folder / "group.png")
            elif name == "phone":
                page.click(".filters")
                page.screenshot(path=folder / "phone_filters.png")
    return {"axe_violations": complaints} if axe else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--axe", type=Path)
    parser.add_argument("--looks", type=Path, default=Path(tempfile.gettempdir()) / "armlite-page")
    parser.add_argument("--write", action="store_true", help="keep the figures in tests/real/committed/page.json")
    args = parser.parse_args()
    args.looks.mkdir(parents=True, exist_ok=True)
    file = args.looks / "page.html"
    start = time.monotonic()
    chosen = gather(args.run, False, Selection())
    count = write(file, chosen, "a run")
    made = {"seconds_to_write": round(time.monotonic() - start, 1), "megabytes": round(file.stat().st_size / 1e6, 1)}
    url = file.as_uri()
    with browser(args.chromium) as page:
        ready(page, url)
        version = page.context.browser.version if page.context.browser else ""
        moved = steps(page) | choices(page, chosen)
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "chromium": version,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "trajectories": count,
        **made,
        **load_and_memory(args.chromium, url),
        **moved,
        **looks(args.chromium, url, args.looks, args.axe),
    }
    say(json.dumps(result, indent=1))
    if args.write:
        keep("page.json", result)


if __name__ == "__main__":
    main()
