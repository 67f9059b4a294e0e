"""HTTP for the AI CLIs: which are known, which are installed, who is signed in, which models they offer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fastapi import APIRouter
from pydantic import BaseModel, Field

from agented.backends.contract import Backend, Login, Model, Permission
from agented.kit.web import Page, role


class Found(Protocol):
    """What detection says of one CLI on this machine."""

    @property
    def found(self) -> bool: ...
    @property
    def path(self) -> Path | str | None: ...
    @property
    def version(self) -> str | None: ...
    @property
    def tested(self) -> bool: ...
    @property
    def warning(self) -> str | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendsApi:
    """Ports of the routes.

    all: every backend that is installed with us. get: one by name, or raises NotFound.
    detect: what is on this machine, by name of the backend; True looks anew instead of remembering.
    read_login: of the person's own home. models: asks the CLI where its list is not fixed.
    """

    all: Callable[[], Sequence[Backend]]
    get: Callable[[str], Backend]
    detect: Callable[[bool], Mapping[str, Found]]
    read_login: Callable[[Backend], Login | None]
    models: Callable[[Backend], Sequence[Model]]


class LoginOut(BaseModel):
    kind: str
    email: str | None
    plan: str | None


class BackendOut(BaseModel):
    name: str
    title: str
    found: bool
    path: str | None
    version: str | None
    tested: bool = Field(description="Whether this version is one that our translator was checked with.")
    warning: str | None
    needs_login: bool
    signed_in: bool | None = Field(description="Null where it cannot be told.")
    login: LoginOut | None
    install_hint: str
    sign_in_hint: str
    can_resume: bool
    permissions: list[Permission]
    has_models: bool
    builtin: bool
    tested_range: str


class ModelOut(BaseModel):
    id: str
    title: str


def build_router(ports: BackendsApi) -> APIRouter:
    router = APIRouter(prefix="/api/backends", tags=["backends"])

    def shown(*, fresh: bool) -> Page[BackendOut]:
        found = ports.detect(fresh)
        return Page(items=[_out(backend, found.get(backend.name), ports.read_login) for backend in ports.all()])

    @router.get("", openapi_extra=role("viewer"))
    def list_backends() -> Page[BackendOut]:
        return shown(fresh=False)

    @router.post("/detect", openapi_extra=role("operator"))
    def detect() -> Page[BackendOut]:
        return shown(fresh=True)

    @router.get("/{name}/models", openapi_extra=role("viewer"))
    def list_models(name: str) -> Page[ModelOut]:
        models = ports.models(ports.get(name))
        return Page(items=[ModelOut(id=model.id, title=model.title or model.id) for model in models])

    return router


def _out(backend: Backend, found: Found | None, read_login: Callable[[Backend], Login | None]) -> BackendOut:
    login = read_login(backend) if backend.credentials is not None else None
    can_tell = backend.needs_login and backend.credentials is not None
    return BackendOut(
        name=backend.name,
        title=backend.title,
        found=found is not None and found.found,
        path=None if found is None or found.path is None else str(found.path),
        version=None if found is None else found.version,
        tested=found is not None and found.tested,
        warning=None if found is None else found.warning,
        needs_login=backend.needs_login,
        signed_in=login is not None if can_tell else None,
        login=None if login is None else LoginOut(kind=login.kind, email=login.email, plan=login.plan),
        install_hint=backend.install_hint,
        sign_in_hint=backend.sign_in_hint,
        can_resume=backend.can_resume,
        permissions=list(backend.permissions),
        has_models=backend.models is not None,
        builtin=backend.builtin is not None,
        tested_range=f"{backend.tested.since} – <{backend.tested.below}",
    )
