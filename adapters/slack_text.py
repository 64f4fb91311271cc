"""Text to and from Slack: our markdown as mrkdwn that mentions nobody, and what people typed as plain text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bot import breaks

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*[^`]*")
_CODE = re.compile(r"(`[^`\n]+`)")
_LINK = re.compile(r"\[([^\]\n]{1,300})\]\(([^()\s]{1,2000})\)")
_BOLD = re.compile(r"\*\*(?=\S)(.{1,1000}?)(?<=\S)\*\*")
_HEADING = re.compile(r"#{1,6} +(.+)")
_BULLET = re.compile(r"(\s*)[-*+] +")
_CONTROL = re.compile(r"<([@#!]?)([^<>|]+)(?:\|([^<>]*))?>")


def escape(text: str) -> str:
    """The text as Slack shows it literally: without these three characters nothing in it is a mention or a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def mrkdwn(text: str) -> str:
    """Markdown in Slack's own notation; links show where they lead."""
    rows: list[str] = []
    fence = ""
    for row in text.split("\n"):
        found = _FENCE.fullmatch(row)
        if found and (not fence or found[1].startswith(fence)):
            fence = "" if fence else found[1]
            rows.append("```")
        else:
            rows.append(escape(row.replace("```", "`\u200b``")) if fence else _row(row))
    return "\n".join(rows)


def _row(row: str) -> str:
    heading = _HEADING.fullmatch(row)
    if heading:
        return f"*{escape(heading[1].replace('*', ''))}*"
    bullet = _BULLET.match(row)
    if bullet:
        row = f"{bullet[1]}• {row[bullet.end() :]}"
    parts = _CODE.split(row)
    return "".join(escape(part) if at % 2 else _words(part) for at, part in enumerate(parts))


def _words(text: str) -> str:
    text = _LINK.sub(lambda found: found[1] if found[1] == found[2] else f"{found[1]} ({found[2]})", text)
    return _BOLD.sub(r"*\1*", escape(text))


def fenced(text: str) -> str:
    """A reply of ours as markdown: what has several lines is a table, and keeps its columns."""
    return "```\n" + text.replace("```", "`\u200b``") + "\n```" if "\n" in text else text


def pieces(text: str, limit: int) -> Iterator[str]:
    """The markdown in pieces of at most so many characters, fences kept whole or reopened."""
    while len(text) > limit:
        piece, text = breaks.cut(text, limit)
        yield piece
    yield text


def typed(text: str, bot: str) -> str:
    """What a person typed, without Slack's notation and without the mention of the bot."""

    def plain(found: re.Match[str]) -> str:
        kind, target, label = found.groups()
        if kind == "@":
            return "" if target == bot else f"@{label or target}"
        return f"{kind}{label or target}" if kind else target.removeprefix("mailto:")

    return unescape(_CONTROL.sub(plain, text)).strip()


def unescape(text: str) -> str:
    """The characters that Slack escapes in what people type, as they were typed."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
