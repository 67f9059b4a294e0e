"""The API described: OpenAPI, and a page made from it that needs neither scripts nor other servers."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import HTMLResponse

from agented.kit.web import role

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h3 { font: 600 14px/1.4 ui-monospace, monospace; margin: 1.5rem 0 .25rem; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .15rem .75rem .15rem 0; font-weight: 400; }
code { font-family: ui-monospace, monospace; }
.role { opacity: .7; }
"""
_SCHEMES = {
    "token": {"type": "http", "scheme": "bearer", "description": "`agented token` makes one."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "agented_session",
        "description": "A browser's; with X-CSRF-Token.",
    },
}
_METHODS = ("get", "post", "put", "patch", "delete")


def describe(app: FastAPI) -> dict[str, Any]:
    """The app's OpenAPI. Each operation has its least role at `x-role`."""
    api = app.openapi()
    api.setdefault("components", {})["securitySchemes"] = _SCHEMES
    for _, _, operation in _operations(api):
        is_open = operation.get("x-role") == "open"
        operation["security"] = [] if is_open else [{name: []} for name in _SCHEMES]
    return api


def build_router(app: FastAPI) -> APIRouter:
    router = APIRouter(tags=["docs"], include_in_schema=False)

    @router.get("/openapi.json", openapi_extra=role("viewer"))
    def openapi() -> dict[str, Any]:
        return describe(app)

    @router.get("/docs", openapi_extra=role("viewer"))
    def page() -> HTMLResponse:
        return HTMLResponse("".join(_page(describe(app))))

    @router.get("/docs/style.css", openapi_extra=role("viewer"))
    def style() -> Response:
        return Response(_STYLE, media_type="text/css")

    return router


def _operations(api: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in api["paths"].items():
        for method in _METHODS:
            if method in methods:
                yield path, method, methods[method]


def _page(api: dict[str, Any]) -> Iterator[str]:
    title = escape(f"{api['info']['title']} {api['info']['version']} API")
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
    yield '<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/docs/style.css">'
    yield f'<h1>{title}</h1><p>For programs: <a href="/openapi.json">openapi.json</a></p>'
    tag = None
    for path, method, operation in _operations(api):
        if operation.get("tags", [""])[0] != tag:
            tag = operation.get("tags", [""])[0]
            yield f"<h2>{escape(tag)}</h2>"
        yield from _operation(path, method, operation)
    yield "<h2>Shapes</h2>"
    for name, schema in sorted(api["components"].get("schemas", {}).items()):
        yield from _schema(name, schema)
    yield "</html>"


def _operation(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    name = escape(operation["operationId"])
    needed = f'<span class="role">{escape(operation["x-role"])}</span>'
    yield f'<h3 id="{name}">{method.upper()} {escape(path)} {needed}</h3>'
    yield f"<p>{escape(operation.get('description') or operation.get('summary') or '')}</p><table>"
    for parameter in operation.get("parameters", ()):
        where = escape(f"{parameter['name']} ({parameter['in']})")
        yield _row(where, _kind(parameter["schema"]), parameter.get("description", ""))
    for schema in _contents(operation.get("requestBody", {})):
        yield _row("body", _kind(schema), "")
    for status, reply in operation["responses"].items():
        if status.isdigit():
            kinds = [_kind(schema) for schema in _contents(reply)]
            yield _row(f"answer {escape(status)}", ", ".join(kinds), "")
    yield "</table>"


def _schema(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f'<h3 id="schema-{escape(name)}">{escape(name)}</h3><p>{escape(schema.get("description", ""))}</p><table>'
    for field, kind in schema.get("properties", {}).items():
        optional = "" if field in schema.get("required", ()) else " (optional)"
        yield _row(escape(field + optional), _kind(kind), kind.get("description", ""))
    if "enum" in schema:
        yield _row("one of", escape(", ".join(map(str, schema["enum"]))), "")
    yield "</table>"


def _row(head: str, kind: str, description: str) -> str:
    return f"<tr><th><code>{head}</code></th><td><code>{kind}</code></td><td>{escape(description)}</td></tr>"


def _contents(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [content.get("schema", {}) for content in body.get("content", {}).values()]


def _kind(schema: dict[str, Any]) -> str:
    """The type of a schema in a few words, with links to named ones."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#schema-{name}">{name}</a>'
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            return " | ".join(_kind(part) for part in schema[choice])
    if "enum" in schema:
        return escape(" | ".join(map(str, schema["enum"])))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return escape(str(schema.get("format") or schema.get("type") or "anything"))
