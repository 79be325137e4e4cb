"""What several test files need."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from endpoint import Server
from PIL import Image

from armlite.errors import ToolError
from armlite.memory import Memory
from armlite.tools import register
from armlite.tools.tool import Tool, tool
from armlite.types import Observation

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A job in the background begins with interrupts ignored, and so would every program that a test interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared files beside the repository; a test that wants it is skipped where there is none."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("there is no folder of shared files beside the repository")
    return folder


@pytest.fixture(scope="module")
def process() -> Iterator[Server]:
    """A scripted endpoint; unless told otherwise it zooms once and then prefers the first response."""
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def server(process: Server) -> str:
    """Its base address."""
    return process.root


@pytest.fixture(scope="session")
def pocket(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Tasks of the pocket world and a model; nobody changes them."""
    from tiny_run import make_pocket

    return make_pocket(tmp_path_factory.mktemp("pocket"))


@pytest.fixture(scope="session", params=["qwen2_5_vl", "qwen3_vl"])
def either_pocket(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same with a model of each architecture."""
    from tiny_run import make_pocket

    if request.param == "qwen2_5_vl":
        return request.getfixturevalue("pocket")
    return make_pocket(tmp_path_factory.mktemp("pocket"), base=request.param)


@tool
def peek(memory: Memory, /, place: str, times: int = 1) -> Observation:
    """Look at a place and
    see what is there.

    Args:
        place: Where to look, such as `sky`;
            never `cellar`.
        times: How often.

    Returns:
        What was seen, for people only.
    """
    if place == "cellar":
        raise ToolError("Error: the cellar is locked.")
    if place == "fog":
        return Observation(ok=True, text="You see nothing.", empty=True)
    seen = tuple(memory.add_image(Image.new("RGB", (40, 30), place)) for _ in range(times if place == "blue" else 0))
    return Observation(ok=True, text=f"You see the {place}.", images=seen, data={"place": place})


@pytest.fixture
def peeking(monkeypatch: pytest.MonkeyPatch) -> Tool:
    """A small tool, known to this test only."""
    monkeypatch.setattr("armlite.tools._REGISTERED", {})
    return register(peek)
