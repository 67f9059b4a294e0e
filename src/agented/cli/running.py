"""`agented run`: asks for an execution and shows it as people read it, or line by line as JSON."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from agented.cli.reaching import reach
from agented.kit.errors import Unavailable
from agented.kit.http import JsonClient
from agented.kit.text import printable

if TYPE_CHECKING:
    from agented.settings import Settings

_ENDED = ("succeeded", "failed", "cancelled", "timed_out", "superseded")


def run_prompt(settings: Settings, wish: dict[str, Any], *, as_json: bool) -> int:
    """Gives the exit code: 0 only for SUCCEEDED. Ctrl+C stops the execution, not only the command."""
    with reach(settings) as client:
        execution = client.post("/api/executions", {name: value for name, value in wish.items() if value is not None})
        return follow(client, str(execution["id"]), as_json=as_json)


def follow(client: JsonClient, execution_id: str, *, as_json: bool) -> int:
    """Shows an execution until its end; gives the exit code."""
    screen: Screen = JsonScreen() if as_json else PlainScreen(execution_id)
    try:
        watch(client, execution_id, screen)
    except KeyboardInterrupt:
        click.echo("Stopping…", err=True)
        client.post(f"/api/executions/{execution_id}/cancel", {"reason": "Stopped at the terminal."})
    ended = client.get(f"/api/executions/{execution_id}")
    screen.end(ended)
    if ended["state"] == "succeeded":
        return 0
    return 130 if ended["state"] == "cancelled" else 1


def watch(client: JsonClient, execution_id: str, screen: Screen) -> None:
    """Shows lines and events until the execution has ended; goes on where it was when the connection breaks."""
    topics = f"execution:{execution_id},log:{execution_id}:1,events:{execution_id}:0"
    last_id: str | None = None
    tries = 0
    while True:
        try:
            for message_id, name, data in client.events("/api/stream", last_id, topics=topics):
                tries, last_id = 0, message_id
                if _show(client, execution_id, name, json.loads(data), screen):
                    return
        except Unavailable:
            tries += 1
            if tries > 5:
                raise


def _show(client: JsonClient, execution_id: str, name: str, data: dict[str, Any], screen: Screen) -> bool:
    """True when the log has come to its end."""
    if name == "log":
        for line in data["lines"]:
            screen.line(line)
    elif name == "log_gap":
        first = int(data["from"])
        while first <= data["to"]:
            page = client.get(f"/api/executions/{execution_id}/log", **{"from": first, "limit": 2000})
            lines = [line for line in page["lines"] if line["n"] <= data["to"]]
            if not lines:
                break
            for line in lines:
                screen.line(line)
            first = lines[-1]["n"] + 1
    elif name == "events":
        for item in data["items"]:
            screen.event(item)
    elif name == "execution":
        screen.state(data)
    return name == "log_end"


class Screen:
    def line(self, line: dict[str, Any]) -> None: ...
    def event(self, event: dict[str, Any]) -> None: ...
    def state(self, execution: dict[str, Any]) -> None: ...
    def end(self, execution: dict[str, Any]) -> None: ...


class JsonScreen(Screen):
    """One object a line: {"line": …}, {"event": …}, {"state": …}, and last {"execution": …}."""

    def __init__(self) -> None:
        self._state = ""

    def line(self, line: dict[str, Any]) -> None:
        self._put({"line": line})

    def event(self, event: dict[str, Any]) -> None:
        self._put({"event": event})

    def state(self, execution: dict[str, Any]) -> None:
        if execution["state"] != self._state and execution["state"] not in _ENDED:
            self._state = execution["state"]
            self._put({"state": self._state})

    def end(self, execution: dict[str, Any]) -> None:
        self._put({"execution": execution})

    def _put(self, value: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(value) + "\n")
        sys.stdout.flush()


class PlainScreen(Screen):
    """Text as people read it: lines that are not a CLI's JSON, and what the JSON means.

    A CLI that prints plain text gives both a line and an event of it; whichever comes second is not shown again.
    """

    def __init__(self, execution_id: str) -> None:
        self._shown: Counter[str] = Counter()
        self._told: Counter[str] = Counter()
        self._state = ""
        click.secho(execution_id, dim=True, err=True)

    def line(self, line: dict[str, Any]) -> None:
        text = str(line["text"])
        if text.startswith("{") and text.endswith("}"):
            return
        if self._told[text] > 0:
            self._told[text] -= 1
            return
        if len(self._shown) < 10_000:
            self._shown[text] += 1
        click.secho(printable(text), err=line["stream"] == "stderr", dim=line["stream"] == "stderr")

    def event(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "said":
            self._say(str(event["text"]), thinking=bool(event["thinking"]), delta=bool(event["delta"]))
        elif kind == "tool_called":
            detail = ", ".join(f"{k}={v}" for k, v in event["arguments"].items())
            click.secho(printable(f"● {event['tool']}({detail[:200]})").replace("\n", " "), fg="cyan")
        elif kind == "tool_returned" and not event["ok"]:
            click.secho(printable(f"  ✗ {str(event['output'])[:500]}"), fg="red")
        elif kind == "notice":
            click.secho(printable(str(event["text"])), fg="yellow", err=True)
        elif kind == "needs_input":
            click.secho(printable(f"? {event['question']}"), fg="yellow", err=True)

    def _say(self, text: str, *, thinking: bool, delta: bool) -> None:
        if self._shown[text] > 0:
            self._shown[text] -= 1
            return
        self._told[text] += 1
        click.secho(printable(text), dim=thinking, nl=not delta)

    def state(self, execution: dict[str, Any]) -> None:
        state = execution["state"]
        if state != self._state and state == "waiting":
            click.secho(f"Waiting: {execution['detail']}", fg="yellow", err=True)
        self._state = state

    def end(self, execution: dict[str, Any]) -> None:
        good = execution["state"] == "succeeded"
        changes, tokens = execution["changes"], execution["tokens"]
        parts = [execution["state"].replace("_", " ")]
        if execution["reason"]:
            parts.append(f"{execution['reason']}: {execution['detail'] or ''}".rstrip(": "))
        if changes and changes["files"]:
            parts.append(f"{changes['files']} files +{changes['additions']} -{changes['deletions']}")
        if tokens["input"] or tokens["output"]:
            parts.append(f"{tokens['input'] + tokens['cache_read'] + tokens['cache_write']} in, {tokens['output']} out")
        if execution["branch"] and changes and changes["files"]:
            parts.append(execution["branch"])
        click.secho(printable(" · ".join(parts)), fg="green" if good else "red", err=True)
