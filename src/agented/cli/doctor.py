"""`agented doctor`: this machine and this data folder, each with the exact next act."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from agented.kit.errors import AgentedError

if TYPE_CHECKING:
    from agented.settings import Settings


@dataclass(frozen=True, slots=True)
class Finding:
    """state: ok | warning | missing. act: what to type, if there is something to do."""

    name: str
    state: str
    detail: str
    act: str = ""


def examine(settings: Settings, *, as_json: bool) -> int:
    """Prints what is found; 0 when Agented can work, 1 when something it needs is missing."""
    findings = [*_machine(settings), *_folder(settings)]
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            mark, colour = {"ok": ("✓", "green"), "warning": ("!", "yellow")}.get(finding.state, ("✗", "red"))
            click.echo(f"{click.style(mark, fg=colour)} {finding.name:<16} {finding.detail}")
            if finding.act:
                click.secho(f"  {finding.act}", dim=True)
    return 1 if any(finding.state == "missing" for finding in findings) else 0


def _machine(settings: Settings) -> list[Finding]:
    path = settings.base_env.get("PATH", "")
    git = shutil.which("git", path=path)
    findings = [
        Finding("python", "ok", sys.version.split()[0]),
        Finding("git", "ok", git) if git else Finding("git", "missing", "not on PATH", "apt-get install git"),
    ]
    findings.append(_gh(settings))
    if sys.platform == "linux":
        findings.append(Finding("process trees", "ok", "child subreaper: nothing a run starts outlives it"))
    else:
        detail = "no subreaper on this system: what leaves a run's tree is found by its marker"
        findings.append(Finding("process trees", "warning", detail))
    return findings


def _gh(settings: Settings) -> Finding:
    from agented.projects.github import GitHub

    hub = GitHub({**settings.base_env, **settings.github_env, "HOME": str(settings.home)})
    if not hub.is_there():
        return Finding(
            "gh", "warning", "not on PATH: bots cannot comment or open pull requests", "https://cli.github.com"
        )
    logins = hub.logins()
    if not logins:
        return Finding("gh", "warning", "not signed in anywhere", "gh auth login")
    return Finding("gh", "ok", ", ".join(f"{login} at {host}" for host, login in sorted(logins.items())))


def _folder(settings: Settings) -> list[Finding]:
    from agented.app.shelf import Shelf
    from agented.cli.finding import running_url

    try:
        shelf = Shelf(settings)
    except AgentedError as error:
        return [Finding("data folder", "missing", error.message, error.hint or "")]
    try:
        url = running_url(settings)
        return [
            Finding("data folder", "ok", str(settings.data)),
            Finding("server", "ok", url) if url else Finding("server", "ok", "none runs", "agented serve"),
            *_backends(settings, shelf),
        ]
    finally:
        shelf.close()


def _backends(settings: Settings, shelf: object) -> list[Finding]:
    from agented.app.shelf import Shelf, look_around

    assert isinstance(shelf, Shelf)
    lookout = look_around(shelf)
    findings = []
    seen = lookout.look()
    for backend in shelf.registry.all():
        detection = seen[backend.name]
        if not detection.found:
            findings.append(Finding(backend.name, "warning", "not found on PATH", backend.install_hint))
        elif backend.needs_login and backend.credentials is not None and lookout.read_login(backend) is None:
            detail = f"{detection.version} at {detection.path}, not signed in"
            findings.append(Finding(backend.name, "warning", detail, backend.sign_in_hint))
        else:
            detail = f"{detection.version or ''} {detection.path or 'built in'}".strip()
            state = "warning" if detection.warning else "ok"
            findings.append(Finding(backend.name, state, detail, detection.warning or ""))
    return findings
