"""Commands that work on the data folder itself, whether a server runs or not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agented.kit.errors import Invalid

if TYPE_CHECKING:
    from agented.app.shelf import Shelf
    from agented.kit.web import Role
    from agented.settings import Settings


@contextmanager
def _open(settings: Settings) -> Iterator[Shelf]:
    from agented.app.shelf import Shelf

    shelf = Shelf(settings)
    try:
        yield shelf
    finally:
        shelf.close()


def new_token(settings: Settings, *, name: str, role: Role, lives_s: float | None = None) -> str:
    with _open(settings) as shelf:
        return shelf.new_token(name=name, role=role, lives_s=lives_s)


def new_link(settings: Settings) -> str:
    from agented.cli.finding import running_url

    url = running_url(settings) or f"http://{settings.host}:{settings.port}"
    with _open(settings) as shelf:
        return f"{url}/sign-in?token={shelf.new_link()}"


def add_account(
    settings: Settings, *, name: str, backend: str, home: Path | None, env: tuple[str, ...], own_program: Path | None
) -> None:
    pairs = {}
    for word in env:
        key, equals, value = word.partition("=")
        if not equals:
            raise Invalid(f"--env {word!r} is not KEY=VALUE.", field="env", hint="Write --env NAME=value.")
        pairs[key] = value
    with _open(settings) as shelf:
        account = shelf.add_account(
            name=name,
            backend=backend,
            home=home and home.absolute(),
            env=pairs,
            program=own_program and own_program.absolute(),
        )
    click.echo(f"{account.id}  {account.name}")


def list_accounts(settings: Settings, *, as_json: bool) -> None:
    with _open(settings) as shelf:
        found = shelf.accounts()
    if as_json:
        rows = [
            {
                "id": account.id,
                "key": account.key,
                "name": account.name,
                "backend": account.backend,
                "home": str(account.home or ""),
                "disabled": account.disabled,
            }
            for account in found
        ]
        click.echo(json.dumps(rows))
        return
    for account in found:
        click.echo(f"{account.id}  {account.name:<20} {account.backend:<12} {account.home or ''}")
    if not found:
        click.echo("No accounts were added; each CLI runs as you, with its own default home.", err=True)


def remove_account(settings: Settings, name: str) -> None:
    with _open(settings) as shelf:
        shelf.remove_account(name)
    click.echo(f"{name} is forgotten.")
