"""Commands that tell what was said."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agented.kit.text import printable

if TYPE_CHECKING:
    from agented.kit.http import JsonClient
    from agented.settings import Settings

_AT_ONCE = 2000


def search(settings: Settings, words: Sequence[str], *, whose: str | None, limit: int, as_json: bool) -> None:
    from agented.cli.reaching import reach

    # What the shell kept together is a phrase.
    phrases = [f'"{word}"' if " " in word and '"' not in word else word for word in words]
    with reach(settings) as client:
        page = client.get("/api/transcripts", q=" ".join(phrases) or None, of=whose, limit=limit)
    if as_json:
        sys.stdout.write(json.dumps(page) + "\n")
        return
    if not page["items"]:
        sys.stderr.write("Nothing was found.\n" if words else "Nothing was collected yet.\n")
    for one in page["items"]:
        about = f"{one['last_at'][:16].replace('T', ' ')}  {one['account']}  {printable(one['workdir'])}".rstrip()
        sys.stdout.write(f"{one['id']:>6}  {printable(one['title']) or '-'}\n        {about}\n")
        for hit in one["found"]:
            sys.stdout.write(f"        {hit['seq']}: {printable(hit['snippet'])}\n")


def show(settings: Settings, number: int, *, as_json: bool) -> None:
    from agented.cli.reaching import reach

    with reach(settings) as client:
        about = client.get(f"/api/transcripts/{number}")
        items = list(_items(client, number))
    if as_json:
        sys.stdout.write(json.dumps({**about, "entries": items}) + "\n")
        return
    sys.stdout.write(f"{printable(about['title'])}\n{about['account']}  {printable(about['workdir'])}\n")
    for item in items:
        sys.stdout.write(f"\n{_heading(item)}\n{_words(item)}\n")


def _items(client: JsonClient, number: int) -> Iterator[Mapping[str, Any]]:
    after = 0
    while True:
        page = client.get(f"/api/transcripts/{number}/items", after=after, limit=_AT_ONCE)
        yield from page["items"]
        if not page["items"] or page["items"][-1]["seq"] >= page["last_seq"]:
            return
        after = page["items"][-1]["seq"]


def _heading(item: Mapping[str, Any]) -> str:
    names = {"asked": "Asked", "said": "Said", "tool_returned": "Returned", "notice": "Note"}
    if item["type"] == "tool_called":
        name = printable(str(item["tool"]))
    else:
        name = "Thought" if item.get("thinking") else names.get(item["type"], item["type"])
    return f"--- {item['seq']} {name}, {item['at'][:19].replace('T', ' ')}"


def _words(item: Mapping[str, Any]) -> str:
    if item["type"] == "tool_called":
        return printable(json.dumps(item["arguments"], ensure_ascii=False, indent=1))
    return printable(str(item.get("output") if item["type"] == "tool_returned" else item.get("text")))
