"""Run inside VLMEvalKit's environment: a conversation and a video, as its own code hands them to our model."""

import io
import sys
from contextlib import redirect_stdout
from pathlib import Path


def main(name: str, mark: str) -> None:
    with redirect_stdout(io.StringIO()):
        from vlmeval.config import supported_VLM
        from vlmeval.inference_mt import chat_mt

        from armlite.errors import ArmliteError

        model = supported_VLM[name]()
        turns = [{"role": "user", "content": f"Question {n}? {mark}"} for n in (1, 2)]
        blanks = [{"role": "assistant", "content": ""}] * 2
        said = chat_mt(model, [turns[0], blanks[0], turns[1], blanks[1]], "MMDU")
        assert len(said) == 2 and all(isinstance(text, str) and "Failed" not in text for text in said), said
        Path("film.mp4").touch()
        try:
            model.generate([{"type": "video", "value": "film.mp4"}, {"type": "text", "value": mark}], "SomeVideo")
        except ArmliteError as error:
            told = str(error)
    assert "no video" in told, told
    print("two rounds were answered, a video is refused in a sentence")


if __name__ == "__main__":
    main(*sys.argv[1:])
