"""Where a project comes from, as people and other programs name it: HOST/OWNER/REPO, and its page on the web."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from agented.kit.errors import AgentedError, Invalid
from agented.projects.checks import check_origin, is_local
from agented.projects.git import Git, find_repository
from agented.projects.model import Project

_SCP = re.compile(r"(?:[^@:/]+@)?(?P<host>[^@:/]+):(?P<path>.+)\Z")
_PART = re.compile(r"[\w.~+-]+\Z")
# The name under which the host takes SSH at the port of https.
_SAME_HOST = {
    "ssh.github.com": "github.com",
    "altssh.gitlab.com": "gitlab.com",
    "altssh.bitbucket.org": "bitbucket.org",
}


@dataclass(frozen=True, slots=True)
class Remote:
    """name: HOST/OWNER/REPO. web_url: its page."""

    name: str
    web_url: str


def read_remote(url: str) -> Remote | None:
    """None for an address that has no page: a folder of this machine, or one that names no owner."""
    try:
        check_origin(url)
        host, path = _split(url)
    except (Invalid, ValueError):
        return None
    parts = path.strip("/").removesuffix(".git").split("/")
    if not host or len(parts) < 2 or not all(_PART.match(part) and part.strip(".") for part in parts):
        return None
    name = "/".join([host, *parts])
    return Remote(name, f"https://{name}")


def _split(url: str) -> tuple[str, str]:
    """Host and path. The port of an https address belongs to the host, that of SSH is not the web's."""
    if is_local(url):
        return "", ""
    if "://" in url:
        parts = urlsplit(url)
        host, path = (parts.hostname or ""), parts.path
        if parts.scheme == "https" and parts.port not in (None, 443):
            return f"{host}:{parts.port}", path
    else:
        match = _SCP.match(url)
        host, path = (match["host"].lower(), match["path"]) if match else ("", "")
    return _SAME_HOST.get(host, host), path


class Remotes:
    """Reads the configuration of a repository again only when its file has changed: lists ask for many at once."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self._seen: dict[Path, tuple[tuple[int, int, int], Remote | None]] = {}

    def of(self, project: Project) -> Remote | None:
        if project.url is not None:
            return read_remote(project.url)
        try:
            repository = find_repository(project.path)
            stat = (repository / "config").stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            seen = self._seen.get(repository)
            if seen is None or seen[0] != stamp:
                origin = self._git.origin(repository)
                seen = self._seen[repository] = (stamp, None if origin is None else read_remote(origin.url))
        except (AgentedError, OSError):
            return None
        return seen[1]
