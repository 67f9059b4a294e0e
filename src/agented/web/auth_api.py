"""HTTP for signing in and out, and for tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field, model_validator

from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.errors import Unauthenticated
from agented.kit.web import Page, Role, role
from agented.web import auth as verbs
from agented.web import store
from agented.web.auth import SESSION_LIFE, Auth, SignedIn
from agented.web.gate import cookie_name, signed_in
from agented.web.model import Session, User

_LONGEST = 500


class SignIn(BaseModel):
    """Either the token of a link, or name and password."""

    link: str | None = Field(default=None, max_length=_LONGEST)
    name: str | None = Field(default=None, max_length=_LONGEST)
    password: str | None = Field(default=None, max_length=_LONGEST)

    @model_validator(mode="after")
    def _is_one_of_both(self) -> SignIn:
        if (self.link is None) == (self.name is None or self.password is None):
            raise ValueError("give either `link`, or `name` and `password`")
        return self


class NewPassword(BaseModel):
    current: str | None = Field(default=None, max_length=_LONGEST, description="Needed once there is a password.")
    new: str = Field(min_length=8, max_length=_LONGEST)


class UserOut(BaseModel):
    name: str
    role: Role
    has_password: bool


class SessionOut(BaseModel):
    user: UserOut | None
    csrf_token: str | None = Field(description="For the header X-CSRF-Token of requests that change something.")
    version: str


class NewToken(BaseModel):
    name: str = Field(min_length=1, max_length=80, description="What the token is for.")
    role: Role
    lives_s: float | None = Field(default=None, gt=0, le=10 * 366 * 86400, description="Seconds until it ends.")


class TokenOut(BaseModel):
    id: str
    name: str
    role: Role
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None


class IssuedToken(TokenOut):
    token: str = Field(description="Shown only now.")


Who = Annotated[SignedIn | None, Depends(signed_in)]


def build_router(db: Database, clock: Clock, auth: Auth, *, version: str, tls: bool) -> APIRouter:
    router = APIRouter(prefix="/api", tags=["session"])

    def told(user: User, session: Session) -> SessionOut:
        shown = UserOut(name=user.name, role=user.role, has_password=user.password_hash is not None)
        return SessionOut(user=shown, csrf_token=auth.csrf_token(session), version=version)

    @router.get("/session", openapi_extra=role("open"))
    def see_session(who: Who) -> SessionOut:
        if who is None:
            return SessionOut(user=None, csrf_token=None, version=version)
        if who.user is None or who.session is None:
            shown = UserOut(name=who.caller.name, role=who.caller.role, has_password=False)
            return SessionOut(user=shown, csrf_token=None, version=version)
        return told(who.user, who.session)

    @router.post("/session", openapi_extra=role("open"))
    def sign_in(wish: SignIn, request: Request, response: Response) -> SessionOut:
        address = _address(request)
        if wish.link is not None:
            signed = auth.sign_in_by_link(wish.link, address)
        else:
            signed = auth.sign_in_by_password(wish.name or "", wish.password or "", address)
        response.set_cookie(
            cookie_name(tls),
            signed.cookie,
            max_age=int(SESSION_LIFE.total_seconds()),
            path="/",
            secure=tls,
            httponly=True,
            samesite="strict",
        )
        return told(signed.user, signed.session)

    @router.delete("/session", status_code=204, openapi_extra=role("viewer"))
    def sign_out(who: Who, response: Response) -> None:
        if who is not None and who.session is not None:
            auth.sign_out(who.session)
        response.delete_cookie(cookie_name(tls), path="/", secure=tls, httponly=True, samesite="strict")

    @router.put("/session/password", status_code=204, openapi_extra=role("viewer"))
    def set_password(wish: NewPassword, who: Who, request: Request) -> None:
        if who is None:
            raise Unauthenticated("Sign in first.")
        auth.set_password(who, wish.current, wish.new, _address(request))

    @router.get("/tokens", openapi_extra=role("admin"))
    def list_tokens() -> Page[TokenOut]:
        with db.read() as conn:
            found = store.every_token(conn, clock.now())
        return Page(items=[TokenOut.model_validate(token, from_attributes=True) for token in found])

    @router.post("/tokens", status_code=201, openapi_extra=role("admin"))
    def issue_token(wish: NewToken) -> IssuedToken:
        token, text = verbs.issue_token(db, clock, wish.name, wish.role, lives_s=wish.lives_s)
        return IssuedToken(**TokenOut.model_validate(token, from_attributes=True).model_dump(), token=text)

    @router.delete("/tokens/{token_id}", status_code=204, openapi_extra=role("admin"))
    def revoke_token(token_id: str) -> None:
        verbs.revoke_token(db, token_id)

    return router


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
