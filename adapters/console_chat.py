"""What the console needs of the service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bot.lookup import Message
from bot.reply import Reply

__all__ = ["SURFACE", "Chat", "Message", "Reply"]

SURFACE = "console"


class Chat(Protocol):
    """The service's door for people."""

    async def handle(self, message: Message) -> Reply:
        """Do what a message says; a mistake comes back as a sentence."""

    async def answer(self, ask: str, choice: str | Sequence[str], actor: str) -> Reply:
        """Answer an ask."""

    def complete(self, text: str, actor: str) -> list[str]:
        """What the last word of a line may become."""
