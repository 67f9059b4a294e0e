"""Bots and secrets on the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from agented.bots.files import read_yaml, write_yaml
from agented.cli.finding import running_url
from agented.cli.reaching import reach
from agented.cli.running import follow
from agented.kit.errors import Invalid
from agented.settings import Settings


def apply(settings: Settings, files: Sequence[Path], *, plan_only: bool, as_json: bool) -> None:
    documents = [document for file in files for document in _read(file)]
    with reach(settings) as client:
        planned = client.post("/api/bots/apply", {"documents": documents, "dry_run": plan_only})["items"]
    if as_json:
        click.echo(json.dumps(planned))
        return
    done = {"create": "would be made", "change": "would change", "nothing": "stays as it is"}
    if not plan_only:
        done = {"create": "made", "change": "changed", "nothing": "stays as it is"}
    for one in planned:
        parts = f": {', '.join(one['parts'])}" if one["act"] == "change" else ""
        click.echo(f"{one['name']} {done[one['act']]}{parts}")


def _read(file: Path) -> list[Any]:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{file} cannot be read: {error}", field="files") from None
    return read_yaml(text, str(file))


def export(settings: Settings, names: Sequence[str]) -> None:
    with reach(settings) as client:
        found = client.get("/api/bots")["items"]
    unknown = set(names) - {one["name"] for one in found}
    if unknown:
        raise Invalid(f"There is no bot {sorted(unknown)[0]!r}.", field="names")
    documents = [one["document"] for one in found if not names or one["name"] in names]
    click.echo(write_yaml(documents), nl=False)


def show(settings: Settings, *, as_json: bool) -> None:
    with reach(settings) as client:
        found = client.get("/api/bots")["items"]
    if as_json:
        click.echo(json.dumps(found))
        return
    url = running_url(settings) or "http://HOST"
    for one in found:
        state = "on" if one["enabled"] else "off"
        where = ", ".join(one["projects"]) or "the repository of the event"
        click.echo(f"{one['name']}  {state}  version {one['version']}  {one['backend']}  {where}")
        if one["paused"]:
            click.echo(f"  {one['paused']}")
        for hook in one["github"]:
            click.echo(f"  {hook['name']}: {url}{hook['path']} ({', '.join(hook['events'])})")
        for timed in one["schedules"]:
            click.echo(f"  {timed['name']}: {timed['cron']} {timed['timezone']}, next {timed['next'][0]}")
        for hook in one["webhooks"]:
            warning = "  UNSIGNED: everybody can start it" if hook["unsigned"] else ""
            click.echo(f"  {hook['name']}: {url}{hook['path']} ({hook['style']}){warning}")


def gallery(settings: Settings, name: str | None) -> None:
    with reach(settings) as client:
        found = client.get("/api/bots/gallery")["items"]
    if name is None:
        for one in found:
            click.echo(f"{one['name']:<20} {one['summary']}")
        return
    chosen = next((one for one in found if one["name"] == name), None)
    if chosen is None:
        raise Invalid(f"The gallery has no bot {name!r}.", field="name", hint="`agented bots gallery` lists them.")
    click.echo(chosen["yaml"], nl=False)


def schema(settings: Settings) -> None:
    with reach(settings) as client:
        click.echo(json.dumps(client.get("/api/bots/schema"), indent=1))


def start(settings: Settings, name: str, given: Sequence[str], *, dry_run: bool, as_json: bool) -> int:
    pairs = [one.partition("=") for one in given]
    if not all(equals for _, equals, _ in pairs):
        raise Invalid("Give inputs as NAME=VALUE.", field="input")
    wish = {"input": {key: value for key, _, value in pairs}}
    with reach(settings) as client:
        if dry_run:
            planned = client.post(f"/api/bots/{name}/dry-run", wish)["items"]
            for one in planned:
                click.echo(json.dumps(one) if as_json else _shown(one))
            return 0
        started = client.post(f"/api/bots/{name}/run", wish)["executions"]
        return max((follow(client, execution_id, as_json=as_json) for execution_id in started), default=0)


def _shown(planned: dict[str, Any]) -> str:
    who = " ".join(str(planned[key]) for key in ("backend", "account", "model") if planned[key])
    missing = f"\n(no value: {', '.join(planned['missing'])})" if planned["missing"] else ""
    return f"{planned['project']} · {who} · {planned['permission']}\n{planned['prompt']}{missing}\n"


def set_secret(settings: Settings, name: str, value: str) -> None:
    with reach(settings) as client:
        client.put(f"/api/secrets/{name}", {"value": value})


def list_secrets(settings: Settings) -> None:
    with reach(settings) as client:
        for name in client.get("/api/secrets")["items"]:
            click.echo(name)


def remove_secret(settings: Settings, name: str) -> None:
    with reach(settings) as client:
        client.delete(f"/api/secrets/{name}")
