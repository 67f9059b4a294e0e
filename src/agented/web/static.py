"""The files of the web app. Names with a hash in them are kept for ever, the page itself is asked for each time."""

from __future__ import annotations

from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from agented.kit.clock import Clock
from agented.kit.errors import AgentedError, NotFound
from agented.web.errors import MethodNotAllowed, error_response

# Not asked of the system: its tables differ, and a script of the wrong type does not run.
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
_NOT_BUILT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Agented</title>
<h1>The server runs, the web app is not built</h1>
<p>Stop the server, run <code>make setup</code> in the source folder, and start it again.</p>
<p>The API works: <a href="/docs">/docs</a>.</p></html>
"""


class WebApp:
    """folder: what the build of the front end made; it may come to be while the server runs."""

    def __init__(self, folder: Path | None, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response: ASGIApp
        try:
            response = self._answer(scope)
        except AgentedError as error:
            response = error_response(error, self._clock)
        await response(scope, receive, send)

    def _answer(self, scope: Scope) -> Response:
        if scope["method"] not in ("GET", "HEAD"):
            raise MethodNotAllowed(["GET", "HEAD"])
        headers = Headers(scope=scope)
        path = str(scope["path"]).lstrip("/")
        file = self._find(path)
        if file is not None:
            return _send(file, headers, for_ever=path.startswith("assets/"))
        if path and (path.startswith("assets/") or "text/html" not in headers.get("accept", "")):
            raise NotFound("There is nothing at this path.")
        page = self._find("index.html")
        return HTMLResponse(_NOT_BUILT) if page is None else _send(page, headers, for_ever=False)

    def _find(self, path: str) -> Path | None:
        """The file of a path; nothing hidden, nothing outside the folder, also not through a link."""
        parts = path.split("/")
        if self._folder is None or any(part.startswith(".") or not part or "\0" in part for part in parts):
            return None
        root = self._folder.resolve()
        try:
            file = root.joinpath(*parts).resolve()
            return file if file.is_relative_to(root) and file.is_file() else None
        except (OSError, ValueError):
            return None


def _send(file: Path, asked: Headers, *, for_ever: bool) -> Response:
    headers = {
        "cache-control": "public, max-age=31536000, immutable" if for_ever else "no-cache",
        "vary": "accept-encoding",
    }
    kind = _TYPES.get(file.suffix, "application/octet-stream")
    packed = file.with_name(file.name + ".gz")
    if "gzip" in asked.get("accept-encoding", "") and packed.is_file():
        headers["content-encoding"] = "gzip"
        file = packed
    response = FileResponse(file, headers=headers, media_type=kind, stat_result=file.stat())
    if asked.get("if-none-match") == response.headers["etag"]:
        kept = {name: response.headers[name] for name in ("etag", "cache-control", "vary")}
        return Response(status_code=304, headers=kept)
    return response
