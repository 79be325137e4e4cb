"""Play episodes that a test has opened itself, all at once, through the package's one loop."""

from armlite import loop
from armlite.episode import Episode
from armlite.loop import ChatModel, ChatSession, OnStep


def play(episodes: list[Episode], model: ChatModel, on_step: OnStep | None = None) -> ChatSession:
    """Drive episodes to their end; returns the session, which knows the token ids of what was played."""
    session = model.session()
    for episode in episodes:
        episode.model = model.name
    ended = list(loop.play((lambda e=e: e for e in episodes), session, max(1, len(episodes)), on_step))
    assert {id(e) for e in ended} == {id(e) for e in episodes}
    return session
