"""A judge that answers by rule, served by this checkout for the commands beside: prints its address, ends at SIGTERM.

With `--watch FILE` it writes down at its end what it opened and asked while it served.
"""

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]


def main() -> None:
    """Serve."""
    from fuzzed import Watch
    from serving import says

    from armlite.judge import Judge
    from armlite.models.scripted import ScriptedModel
    from armlite.serve.run import serve
    from armlite.serve.settings import ServeSettings

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--watch", type=Path)
    parser.add_argument("--key")
    options = parser.parse_args()
    watch = Watch()

    def say(line: str) -> None:
        print(line, flush=True)
        watch.on = options.watch is not None and line.startswith("listening")

    serve(Judge(ScriptedModel(says)), ServeSettings(key=options.key), "127.0.0.1", 0, say)
    if options.watch is not None:
        options.watch.write_text(json.dumps(sorted(set(watch.seen))))


if __name__ == "__main__":
    main()
