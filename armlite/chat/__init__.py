"""Interactive judging: the session (`session`), its commands (`commands`), and what stays of it (`kept`)."""

from armlite.chat.commands import COMMANDS, INTRODUCTION
from armlite.chat.session import Case, Chat, Said

__all__ = ["COMMANDS", "INTRODUCTION", "Case", "Chat", "Said"]
