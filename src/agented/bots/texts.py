"""What bots write on GitHub, as Markdown. Each text holds a mark by which it is known again. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from agented.bots.words import Finding, Review, without_json
from agented.projects.events import MARK

_VERDICTS = {"approve": "Good to merge", "request_changes": "Changes are needed", "comment": "Comments only"}
_MOST_LISTED = 50
_LONGEST = 60_000


def mark(bot: str, execution_id: str | None = None) -> str:
    return f"{MARK}:{bot} -->" if execution_id is None else f"{MARK}:{bot}:{execution_id} -->"


def comment(bot: str, words: str, link: str) -> str:
    return f"{quiet(without_json(words) or words)[:_LONGEST]}\n\n{_foot(bot, link)}\n{mark(bot)}"


def failure(bot: str, execution_id: str, cause: str, link: str) -> str:
    return f"**{bot}** could not finish: {quiet(cause)}\n\n{_foot(bot, link)}\n{mark(bot, execution_id)}"


def review(bot: str, told: Review, listed: Sequence[Finding], count: int, link: str) -> str:
    """The one comment: verdict, summary, and the findings that stand on no line."""
    parts = [f"### {bot}: {_VERDICTS[told.verdict]}", quiet(told.summary)[: _LONGEST // 2]]
    if count:
        parts.append(f"{count} finding{'' if count == 1 else 's'}.")
    for one in listed[:_MOST_LISTED]:
        where = f" `{_code(one.path)}{f':{one.line}' if one.line else ''}`" if one.path else ""
        parts.append(f"- **{one.severity}**{where} {quiet(one.title)}\n\n  {_indented(quiet(one.body))}".rstrip())
    if len(listed) > _MOST_LISTED:
        parts.append(f"… and {len(listed) - _MOST_LISTED} more in the run.")
    return "\n\n".join(parts)[:_LONGEST] + f"\n\n{_foot(bot, link)}\n{mark(bot)}"


def review_body(bot: str, execution_id: str, told: Review) -> str:
    return f"{_VERDICTS[told.verdict]}. The summary is in the comment of {bot}.\n{mark(bot, execution_id)}"


def finding(one: Finding) -> str:
    body = "" if one.body == one.title else f"\n\n{quiet(one.body)}"
    return f"**{one.severity}** {quiet(one.title)}{body}"[:_LONGEST]


def commit_message(bot: str, words: str, link: str) -> str:
    return f"{title_of(bot, words)}\n\n{without_json(words)[:4000]}\n\nMade by the bot {bot}: {link}\n"


def title_of(bot: str, words: str) -> str:
    """The first line that says something, without marks of Markdown."""
    for line in without_json(words).splitlines():
        said = line.strip().lstrip("#*->` ").strip("*` ")
        if said:
            return said[:100]
    return f"Changes by {bot}"


def quiet(text: str) -> str:
    """Model output as people's names are not called by it, and as it cannot pass for a mark of ours."""
    return text.replace(MARK, "<!-- ").replace("@", "@\u200b")


def _foot(bot: str, link: str) -> str:
    return f"<sub>{bot} · [run]({link})</sub>"


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")


def _code(text: str) -> str:
    return text.replace("`", "'")[:200]
