"""Commands that look at executions, or stop one."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from agented.cli.reaching import reach
from agented.cli.running import Screen, watch
from agented.kit.errors import Invalid, NotFound
from agented.kit.http import JsonClient
from agented.kit.text import printable

if TYPE_CHECKING:
    from agented.settings import Settings

_PATIENCE_S = 30.0


def list_executions(settings: Settings, *, limit: int, state: str | None, as_json: bool) -> None:
    with reach(settings) as client:
        page = client.get("/api/executions", limit=limit, state=state)
    if as_json:
        click.echo(json.dumps(page))
        return
    for item in page["items"]:
        colour = {"succeeded": "green", "failed": "red", "timed_out": "red"}.get(item["state"])
        state_text = click.style(f"{item['state']:<10}", fg=colour)
        click.echo(f"{item['id']}  {state_text} {item['backend']:<10} {printable(item['title'])[:70]}")
    if not page["items"]:
        click.echo("Nothing has run yet. Start with: agented run PROMPT --backend NAME --project PATH", err=True)


def print_log(settings: Settings, execution_id: str, *, follow: bool) -> None:
    with reach(settings) as client:
        if follow:
            client.get(f"/api/executions/{execution_id}")
            watch(client, execution_id, _Lines())
            return
        first = 1
        while True:
            page = client.get(f"/api/executions/{execution_id}/log", **{"from": first, "limit": 2000})
            for line in page["lines"]:
                _put(line)
            if not page["lines"]:
                return
            first = page["lines"][-1]["n"] + 1


def cancel_execution(settings: Settings, execution_id: str, reason: str | None) -> None:
    with reach(settings) as client:
        ended = _cancel(client, execution_id, reason)
    click.echo(f"{execution_id} {ended['state']}")


def _cancel(client: JsonClient, execution_id: str, reason: str | None) -> dict[str, Any]:
    return dict(client.post(f"/api/executions/{execution_id}/cancel", {"reason": reason}))


class _Lines(Screen):
    def line(self, line: dict[str, Any]) -> None:
        _put(line)


def _put(line: dict[str, Any]) -> None:
    text = printable(line["text"]) if sys.stdout.isatty() else line["text"]
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_limits(settings: Settings, *, refresh: bool, as_json: bool) -> None:
    with reach(settings) as client:
        if refresh:
            asked = set(client.post("/api/limits/refresh")["asked"])
            before = {one["key"]: one["asked_at"] for one in client.get("/api/limits")["items"]}
            until = time.monotonic() + _PATIENCE_S
            while asked and time.monotonic() < until:
                now = {one["key"]: one["asked_at"] for one in client.get("/api/limits")["items"]}
                asked = {key for key in asked if now.get(key) == before.get(key)}
                time.sleep(0.2)
        items = client.get("/api/limits")["items"]
    if as_json:
        click.echo(json.dumps(items))
        return
    for item in items:
        click.echo(printable(f"{item['account']:<20} {item['backend']:<12} {item['plan'] or ''}"))
        for window in item["windows"]:
            used = window["used_percent"]
            told = "not known" if used is None else f"{used:g} % used"
            reset = f", renewed {window['resets_at']}" if window["resets_at"] else ""
            click.echo(printable(f"  {window['title']:<24} {told}{reset}"))
        if not item["windows"]:
            click.echo(printable(f"  {item['detail'] or 'nothing is known yet'}"))
    if not items:
        click.echo("No CLI is signed in.", err=True)


def show_account(settings: Settings, name: str, *, as_json: bool) -> None:
    with reach(settings) as client:
        account = _account(client, name)
    if as_json:
        click.echo(json.dumps(account))
        return
    who = ", ".join(printable(str(account[part])) for part in ("email", "plan") if account[part])
    click.echo(
        f"{printable(account['name'])}  {account['backend']}  {printable(account['state_text'])}  {who}".rstrip()
    )
    for line in (account["what_to_do"], account["home"]):
        if line:
            click.echo(f"  {printable(line)}")
    for window in account["windows"]:
        used = "not known" if window["used_percent"] is None else f"{window['used_percent']:.0f} % used"
        reset = f", renewed {window['resets_at']}" if window["resets_at"] else ""
        click.echo(f"  {printable(window['title'])}: {used}{reset}")


def change_account(settings: Settings, name: str, change: dict[str, Any], told: str) -> None:
    with reach(settings) as client:
        account = _account(client, name)
        if account["is_default"]:
            raise Invalid("This is your own login: it has no name and is not switched off.", field="name")
        client.patch(f"/api/accounts/{account['id']}", change)
    click.echo(f"{name} {told}.")


def lift_account(settings: Settings, name: str) -> None:
    with reach(settings) as client:
        client.post(f"/api/accounts/{_account(client, name)['key']}/lift")
    click.echo(f"{name} is used again.")


def _account(client: JsonClient, name: str) -> dict[str, Any]:
    """By its name, its id or its key."""
    for one in client.get("/api/accounts")["items"]:
        names = (one["key"], *(() if one["is_default"] else (one["name"], one["id"])))
        if name in names:
            return dict(one)
    raise NotFound(f"There is no account {name[:80]!r}.", hint="agented accounts list")
