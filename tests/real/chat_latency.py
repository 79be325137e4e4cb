"""How long after a server has written a turn's first word it is on the screen of `armlite chat`:
`python tests/real/chat_latency.py --write`; a minute. A scripted server, an emulated terminal, one clock for all.
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from serving import arguments, keep, say

sys.path.insert(0, str(Path(__file__).parents[1]))

from endpoint import Server
from terminal import Terminal

ROUNDS = 20


def main() -> None:
    options = arguments("chat_latency")
    server, found = Server(), []
    with tempfile.TemporaryDirectory() as folder:
        words = ("chat", "--model", server.model, "--no-history", "--no-probe")
        terminal = Terminal(*words, cwd=Path(folder))
        for line in ("Which?", "one", "two"):
            terminal.ready()
            terminal.press(line + "\r")
        for number in range(ROUNDS):
            first = f"WORD{number:03}"
            answer = "<answer>Overall Judgment: Answer 1 is better.</answer>"
            server.script(
                turns=[f"<think>{first} and more to come. </think>\n{answer}"], pace=0.2, delay=0.13 * (number % 7)
            )
            terminal.ready()
            terminal.press("/judge\r")
            end = time.monotonic() + 30
            while first not in terminal.shown and time.monotonic() < end:
                time.sleep(0.002)
            found.append(time.monotonic() - server.record()[-1]["first_word"])
            terminal.until(f"{first} and more", "Response 1 is better")
        terminal.ready()
        terminal.press("/quit\r")
        terminal.close()
    server.close()
    row = {
        "date": time.strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "rounds": ROUNDS,
        "median_ms": round(1000 * median(found)),
        "largest_ms": round(1000 * max(found)),
    }
    say(str(row))
    if options.write:
        keep("chat_latency.json", row, options.folder)


if __name__ == "__main__":
    main()
