"""Signing in: links that work once, passwords, sessions and tokens that end when they should."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from agented.kit.clock import SetClock
from agented.kit.db import Database
from agented.kit.errors import AgentedError, Invalid, Unauthenticated
from agented.web import auth, passwords
from agented.web.auth import Auth
from tests.rooms.web.conftest import NewSite, Site

PASSWORD = "correct horse battery"


def test_the_first_link_makes_the_admin(site: Site) -> None:
    client = site.client()
    assert client.get("/api/session").json() == {"user": None, "csrf_token": None, "version": "0.1.0"}
    reply = client.post("/api/session", json={"link": site.link()})
    assert reply.json()["user"] == {"name": "admin", "role": "admin", "has_password": False}
    assert client.get("/api/session").json() == reply.json()
    assert client.get("/api/tokens").status_code == 200


def test_the_cookie_is_closed_to_scripts_and_other_sites(site: Site, new_site: NewSite) -> None:
    cookie = site.client().post("/api/session", json={"link": site.link()}).headers["set-cookie"]
    assert cookie.startswith("agented_session=")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    behind_tls = new_site(tls=True)
    reply = behind_tls.client().post("/api/session", json={"link": behind_tls.link()})
    assert reply.headers["set-cookie"].startswith("__Host-agented_session=")
    assert "Secure" in reply.headers["set-cookie"]
    assert "strict-transport-security" in reply.headers


def test_a_link_works_once(site: Site) -> None:
    link = site.link()
    assert site.client().post("/api/session", json={"link": link}).status_code == 200
    again = site.client().post("/api/session", json={"link": link})
    assert (again.status_code, again.json()["error"]["code"]) == (401, "link_invalid")


def test_a_link_works_once_also_when_used_at_once(db: Database) -> None:
    clock = SetClock()
    link = auth.create_link(db, clock)
    Auth(db, clock, b"s").sign_in_by_link(auth.create_link(db, clock), "a")

    def use(number: int) -> bool:
        try:
            Auth(db, clock, b"s").sign_in_by_link(link, str(number))
        except Unauthenticated:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(use, range(8))) == 1


def test_a_link_ends_after_15_minutes(site: Site) -> None:
    early, late = site.link(), site.link()
    site.clock.forward(15 * 60 - 1)
    assert site.client().post("/api/session", json={"link": early}).status_code == 200
    site.clock.forward(1)
    assert site.client().post("/api/session", json={"link": late}).status_code == 401


def test_every_link_signs_in_the_same_admin(db: Database) -> None:
    clock = SetClock()
    door = Auth(db, clock, b"s")
    users = {door.sign_in_by_link(auth.create_link(db, clock), "a").user.id for _ in range(2)}
    assert len(users) == 1


def test_a_password_signs_in_and_ends_other_sessions(site: Site) -> None:
    first, second = site.signed_in(), site.signed_in()
    assert first.put("/api/session/password", json={"new": PASSWORD}).status_code == 204
    assert second.get("/api/tokens").status_code == 401
    assert first.get("/api/session").json()["user"]["has_password"] is True
    assert site.client().post("/api/session", json={"name": "admin", "password": PASSWORD}).status_code == 200
    wrong = site.client().post("/api/session", json={"name": "admin", "password": PASSWORD + "x"})
    nobody = site.client().post("/api/session", json={"name": "nobody", "password": PASSWORD})
    assert wrong.status_code == nobody.status_code == 401
    assert wrong.json() == nobody.json()


def test_changing_a_password_needs_the_current_one(site: Site) -> None:
    client = site.signed_in()
    assert client.put("/api/session/password", json={"new": PASSWORD}).status_code == 204
    for current in (None, "wrong"):
        reply = client.put("/api/session/password", json={"current": current, "new": "another password"})
        assert (reply.status_code, reply.json()["error"]["field"]) == (422, "current")
    good = client.put("/api/session/password", json={"current": PASSWORD, "new": "another password"})
    assert good.status_code == 204
    assert site.client().post("/api/session", json={"name": "admin", "password": PASSWORD}).status_code == 401


def test_short_passwords_and_tokens_with_passwords_are_refused(site: Site) -> None:
    assert site.signed_in().put("/api/session/password", json={"new": "short"}).json()["error"]["field"] == "new"
    by_token = site.client(site.token("admin")).put("/api/session/password", json={"new": PASSWORD})
    assert by_token.status_code == 403


def test_a_password_is_never_kept(db: Database) -> None:
    clock = SetClock()
    door = Auth(db, clock, b"s")
    cookie = door.sign_in_by_link(auth.create_link(db, clock), "a").cookie
    who = door.by_cookie(cookie)
    assert who is not None
    door.set_password(who, None, PASSWORD, "a")
    after = door.by_cookie(cookie)
    assert after is not None and after.user is not None
    assert (after.user.password_hash or "").startswith("$argon2id$")
    assert PASSWORD not in repr(after) and "argon2id" not in repr(after)


def test_an_unknown_name_costs_as_much_as_a_wrong_password() -> None:
    """Held by the parameters, which a clock could only guess at."""
    assert not passwords.is_outdated(passwords.NOBODYS_HASH)
    assert passwords.verify(None, PASSWORD) is False
    assert passwords.verify("not a hash", PASSWORD) is False
    assert passwords.verify(passwords.hash_password(PASSWORD), PASSWORD) is True


def test_ten_wrong_passwords_a_minute_are_enough(site: Site) -> None:
    client = site.client()
    site.signed_in().put("/api/session/password", json={"new": PASSWORD})
    for _ in range(10):
        assert client.post("/api/session", json={"name": "admin", "password": "wrong one"}).status_code == 401
    refused = client.post("/api/session", json={"name": "admin", "password": PASSWORD})
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_tries")
    assert refused.json()["error"]["retry_at"] == "2026-01-01T00:01:00.000Z"
    assert refused.headers["retry-after"] == "60"
    other = client.post("/api/session", json={"name": "other", "password": "wrong one"})
    assert other.status_code == 401
    site.clock.forward(60)
    assert client.post("/api/session", json={"name": "admin", "password": PASSWORD}).status_code == 200


def test_signing_out_ends_the_session(site: Site) -> None:
    client = site.signed_in()
    kept = dict(client.cookies)
    assert client.delete("/api/session").status_code == 204
    assert not client.cookies
    thief = site.client()
    thief.cookies.update(kept)
    assert thief.get("/api/tokens").status_code == 401


def test_a_session_ends_by_idling_and_after_seven_days(db: Database) -> None:
    clock = SetClock()
    door = Auth(db, clock, b"s")
    idle = door.sign_in_by_link(auth.create_link(db, clock), "a").cookie
    busy = door.sign_in_by_link(auth.create_link(db, clock), "a").cookie
    for _ in range(13):
        clock.forward(3600)
        assert door.by_cookie(busy) is not None
    assert door.by_cookie(idle) is None
    for _ in range(7 * 24 - 13 - 1):
        clock.forward(3600)
        assert door.by_cookie(busy) is not None
    clock.forward(3600)
    assert door.by_cookie(busy) is None


def test_who_watches_learns_that_the_session_ended(db: Database) -> None:
    clock = SetClock()
    door = Auth(db, clock, b"s")
    who = door.by_cookie(door.sign_in_by_link(auth.create_link(db, clock), "a").cookie)
    token, text = auth.issue_token(db, clock, "ci", "viewer")
    program = door.by_token(text)
    assert who is not None and who.session is not None and program is not None
    assert who.still() and program.still()
    door.sign_out(who.session)
    auth.revoke_token(db, token.id)
    assert not who.still() and not program.still()


def test_a_token_is_shown_once_and_works_until_revoked(site: Site) -> None:
    admin = site.signed_in()
    made = admin.post("/api/tokens", json={"name": "ci", "role": "operator"})
    assert made.status_code == 201
    text = made.json()["token"]
    assert text.startswith("agt_") and len(text) >= 4 + 43
    program = site.client(text)
    assert program.get("/api/session").json()["user"] == {"name": "ci", "role": "operator", "has_password": False}
    listed = admin.get("/api/tokens").json()["items"]
    assert [(item["name"], item["last_used_at"]) for item in listed] == [("ci", "2026-01-01T00:00:00Z")]
    assert text not in str(listed)
    assert admin.delete(f"/api/tokens/{made.json()['id']}").status_code == 204
    assert program.get("/api/accounts").status_code == 401
    assert admin.delete(f"/api/tokens/{made.json()['id']}").status_code == 404


def test_a_token_ends_at_its_time(site: Site) -> None:
    text = site.token("viewer", lives_s=60)
    assert site.client(text).get("/api/accounts").status_code == 200
    site.clock.forward(60)
    assert site.client(text).get("/api/accounts").status_code == 401
    assert site.client(site.token("admin")).get("/api/tokens").json()["items"][0]["name"] == "test"


@pytest.mark.parametrize(
    ("name", "role", "field"),
    [("", "viewer", "name"), ("a\nb", "viewer", "name"), ("x" * 81, "viewer", "name"), ("x", "boss", "role")],
)
def test_wrong_tokens_name_the_field(site: Site, name: str, role: str, field: str) -> None:
    reply = site.signed_in().post("/api/tokens", json={"name": name, "role": role})
    assert (reply.status_code, reply.json()["error"]["field"]) == (422, field)
    with pytest.raises(Invalid):
        auth.create_token(site.db, site.clock, name, role)  # type: ignore[arg-type] # what a caller without types says


def test_neither_or_both_ways_to_sign_in_are_refused(site: Site) -> None:
    for body in ({}, {"name": "admin"}, {"link": "x", "name": "a", "password": "b"}):
        reply = site.client().post("/api/session", json=body)
        assert reply.status_code == 422
        assert "link" in reply.json()["error"]["message"]


def test_no_secret_text_is_in_the_database(site: Site) -> None:
    link = site.link()
    client = site.client()
    client.post("/api/session", json={"link": link})
    token = site.token("viewer")
    cookie = client.cookies["agented_session"]
    with site.db.read() as conn:
        raw = conn.connection.driver_connection
        assert raw is not None
        dump = "\n".join(raw.iterdump())
    for secret in (link, token, cookie):
        assert secret not in dump


def test_a_full_disk_does_not_stop_looking(site: Site) -> None:
    """Noting when somebody was seen fails; the answer does not."""
    token = site.token("viewer")
    client = site.client(token)
    assert client.get("/api/accounts").status_code == 200
    site.clock.forward(3600)
    with site.db.write() as conn:
        conn.exec_driver_sql("PRAGMA query_only = ON")
    assert client.get("/api/accounts").status_code == 200


def test_a_csrf_token_belongs_to_one_session(site: Site) -> None:
    first, second = site.signed_in(), site.signed_in()
    first.headers["x-csrf-token"] = second.headers["x-csrf-token"]
    reply = first.post("/api/tokens", json={"name": "a", "role": "viewer"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "csrf_token_missing")


def test_throttled_links_are_refused_too(db: Database) -> None:
    door = Auth(db, SetClock(), b"s")
    for _ in range(60):
        with pytest.raises(Unauthenticated):
            door.sign_in_by_link("guess", "1.2.3.4")
    with pytest.raises(AgentedError) as error:
        door.sign_in_by_link("guess", "1.2.3.4")
    assert error.value.status == 429
