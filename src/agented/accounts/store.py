"""All SQL of accounts. Values of secret variables are sealed for their account and their name."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from agented.accounts.limits import Point, Standing, window_of_json, window_to_json
from agented.accounts.model import Account, EnvEntry, Wall, WallKind
from agented.backends.contract import LimitState
from agented.kit.db import UtcTime, metadata
from agented.kit.vault import Vault

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("name", sa.String(80), nullable=False, unique=True),
    sa.Column("backend", sa.String(60), nullable=False),
    sa.Column("home", sa.Text),
    sa.Column("env", sa.JSON, nullable=False),
    sa.Column("program", sa.Text),
    sa.Column("disabled", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("created_at", UtcTime, nullable=False),
)

account_walls = sa.Table(
    "account_walls",
    metadata,
    sa.Column("account_key", sa.String(120), primary_key=True),
    sa.Column("window", sa.String(120), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("model", sa.String(200)),
    sa.Column("until", UtcTime, nullable=False),
    sa.Column("told", sa.Boolean, nullable=False),
    sa.Column("noted_at", UtcTime, nullable=False),
    sa.Column("times", sa.Integer, nullable=False),
    sa.Column("login", sa.String(64)),
    sa.Column("detail", sa.Text, nullable=False),
)
sa.Index("ix_account_walls_until", account_walls.c.until)

limit_standings = sa.Table(
    "limit_standings",
    metadata,
    sa.Column("account_key", sa.String(120), primary_key=True),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("plan", sa.String(120)),
    sa.Column("email", sa.String(320)),
    sa.Column("windows", sa.JSON, nullable=False),
    sa.Column("asked_at", UtcTime),
    sa.Column("next_at", UtcTime),
    sa.Column("failures", sa.Integer, nullable=False),
)

limit_points = sa.Table(
    "limit_points",
    metadata,
    sa.Column("account_key", sa.String(120), primary_key=True),
    sa.Column("window", sa.String(120), primary_key=True),
    sa.Column("at", UtcTime, primary_key=True),
    sa.Column("used_percent", sa.Float, nullable=False),
    sa.Column("resets_at", UtcTime),
)
sa.Index("ix_limit_points_at", limit_points.c.at)

limit_levels = sa.Table(
    "limit_levels",
    metadata,
    sa.Column("account_key", sa.String(120), primary_key=True),
    sa.Column("window", sa.String(120), primary_key=True),
    sa.Column("level", sa.Float, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
)
"""The highest level that a window has crossed and people were told of."""


def add(conn: sa.Connection, vault: Vault, account: Account) -> None:
    conn.execute(
        accounts.insert().values(
            id=account.id,
            name=account.name,
            backend=account.backend,
            home=None if account.home is None else str(account.home),
            env=[_sealed(vault, account.id, entry) for entry in account.env],
            program=account.program,
            created_at=account.created_at,
        )
    )


def remove(conn: sa.Connection, account_id: str) -> bool:
    return conn.execute(accounts.delete().where(accounts.c.id == account_id)).rowcount == 1


def change(conn: sa.Connection, account_id: str, **values: Any) -> None:
    conn.execute(accounts.update().where(accounts.c.id == account_id).values(**values))


def find(conn: sa.Connection, id_or_name: str) -> Account | None:
    """Without the values of secrets."""
    row = _row(conn, id_or_name)
    return None if row is None else _account(row, None)


def open_one(conn: sa.Connection, vault: Vault, id_or_name: str) -> Account | None:
    """With the values of secrets. Raises Unavailable when another key sealed them."""
    row = _row(conn, id_or_name)
    return None if row is None else _account(row, vault)


def every(conn: sa.Connection) -> list[Account]:
    """All that were added, oldest first, without the values of secrets."""
    return [_account(row, None) for row in conn.execute(accounts.select().order_by(accounts.c.id))]


def _row(conn: sa.Connection, id_or_name: str) -> sa.Row[Any] | None:
    """An id is never a name: names that look like one are refused."""
    wanted = sa.or_(accounts.c.id == id_or_name, accounts.c.name == id_or_name)
    return conn.execute(accounts.select().where(wanted)).one_or_none()


def _sealed(vault: Vault, account_id: str, entry: EnvEntry) -> dict[str, Any]:
    value = vault.seal(entry.value or "", _owner(account_id, entry.name)) if entry.secret else entry.value
    return {"name": entry.name, "value": value, "secret": entry.secret}


def _owner(account_id: str, name: str) -> str:
    return f"{account_id}/{name}"


def _account(row: sa.Row[Any], vault: Vault | None) -> Account:
    return Account(
        id=row.id,
        name=row.name,
        backend=row.backend,
        home=None if row.home is None else Path(row.home),
        env=tuple(_entry(vault, row.id, kept) for kept in row.env),
        program=row.program,
        disabled=row.disabled,
        created_at=row.created_at,
    )


def _entry(vault: Vault | None, account_id: str, kept: dict[str, Any]) -> EnvEntry:
    name, value = str(kept["name"]), kept["value"]
    if not kept["secret"]:
        return EnvEntry(name, value)
    return EnvEntry(name, None if vault is None else vault.open(value, _owner(account_id, name)), secret=True)


def put_wall(conn: sa.Connection, wall: Wall) -> None:
    """In place of what was known of the same window."""
    drop_walls(conn, wall.account_key, wall.window)
    conn.execute(
        account_walls.insert().values(
            account_key=wall.account_key,
            window=wall.window,
            kind=wall.kind,
            model=wall.model,
            until=wall.until,
            told=wall.told,
            noted_at=wall.noted_at,
            times=wall.times,
            login=wall.login,
            detail=wall.detail,
        )
    )


def find_wall(conn: sa.Connection, account_key: str, window: str) -> Wall | None:
    mine = sa.and_(account_walls.c.account_key == account_key, account_walls.c.window == window)
    row = conn.execute(account_walls.select().where(mine)).one_or_none()
    return None if row is None else _wall(row)


def walls_after(conn: sa.Connection, now: datetime) -> list[Wall]:
    """Those that stand, the one that stands longest first."""
    query = account_walls.select().where(account_walls.c.until > now).order_by(account_walls.c.until.desc())
    return [_wall(row) for row in conn.execute(query)]


def drop_walls(conn: sa.Connection, account_key: str, window: str | None = None) -> int:
    mine = account_walls.c.account_key == account_key
    if window is not None:
        mine = sa.and_(mine, account_walls.c.window == window)
    return conn.execute(account_walls.delete().where(mine)).rowcount


def drop_walls_before(conn: sa.Connection, then: datetime) -> None:
    conn.execute(account_walls.delete().where(account_walls.c.until < then))


def _wall(row: sa.Row[Any]) -> Wall:
    return Wall(
        account_key=row.account_key,
        window=row.window,
        kind=WallKind(row.kind),
        model=row.model,
        until=row.until,
        told=row.told,
        noted_at=row.noted_at,
        times=row.times,
        login=row.login,
        detail=row.detail,
    )


def put_standing(conn: sa.Connection, standing: Standing) -> None:
    conn.execute(limit_standings.delete().where(limit_standings.c.account_key == standing.account_key))
    conn.execute(
        limit_standings.insert().values(
            account_key=standing.account_key,
            state=standing.state,
            detail=standing.detail[:1000],
            plan=standing.plan,
            email=standing.email,
            windows=[window_to_json(one) for one in standing.windows],
            asked_at=standing.asked_at,
            next_at=standing.next_at,
            failures=standing.failures,
        )
    )


def find_standing(conn: sa.Connection, account_key: str) -> Standing | None:
    row = conn.execute(limit_standings.select().where(limit_standings.c.account_key == account_key)).one_or_none()
    return None if row is None else _standing(row)


def standings(conn: sa.Connection) -> dict[str, Standing]:
    return {row.account_key: _standing(row) for row in conn.execute(limit_standings.select())}


def drop_limits(conn: sa.Connection, account_key: str) -> None:
    """Forgets all that was known of an account's limits."""
    for table in (limit_standings, limit_points, limit_levels, account_walls):
        conn.execute(table.delete().where(table.c.account_key == account_key))


def add_point(conn: sa.Connection, account_key: str, window: str, point: Point) -> None:
    """Once per window and moment."""
    mine = sa.and_(
        limit_points.c.account_key == account_key, limit_points.c.window == window, limit_points.c.at == point.at
    )
    conn.execute(limit_points.delete().where(mine))
    conn.execute(
        limit_points.insert().values(
            account_key=account_key,
            window=window,
            at=point.at,
            used_percent=point.used_percent,
            resets_at=point.resets_at,
        )
    )


def points_of(conn: sa.Connection, account_key: str, since: datetime) -> dict[str, list[Point]]:
    """By window, oldest first."""
    query = limit_points.select().where(limit_points.c.account_key == account_key, limit_points.c.at >= since)
    found: dict[str, list[Point]] = {}
    for row in conn.execute(query.order_by(limit_points.c.at).limit(50_000)):
        found.setdefault(row.window, []).append(Point(row.at, row.used_percent, row.resets_at))
    return found


def thin_points(conn: sa.Connection, before: datetime, limit: int = 20_000) -> int:
    """Keeps of what is older the last reading of each hour. Gives how many went."""
    query = sa.select(limit_points.c.account_key, limit_points.c.window, limit_points.c.at)
    rows = list(conn.execute(query.where(limit_points.c.at < before).order_by(limit_points.c.at.desc()).limit(limit)))
    kept: set[tuple[str, str, str]] = set()
    dropped = 0
    for row in rows:
        hour = (row.account_key, row.window, row.at.strftime("%Y%m%d%H"))
        if hour not in kept:
            kept.add(hour)
            continue
        mine = sa.and_(
            limit_points.c.account_key == row.account_key,
            limit_points.c.window == row.window,
            limit_points.c.at == row.at,
        )
        dropped += conn.execute(limit_points.delete().where(mine)).rowcount
    return dropped


def level(conn: sa.Connection, account_key: str, window: str) -> float:
    mine = sa.and_(limit_levels.c.account_key == account_key, limit_levels.c.window == window)
    return float(conn.execute(sa.select(limit_levels.c.level).where(mine)).scalar() or 0.0)


def put_level(conn: sa.Connection, account_key: str, window: str, value: float, at: datetime) -> None:
    mine = sa.and_(limit_levels.c.account_key == account_key, limit_levels.c.window == window)
    conn.execute(limit_levels.delete().where(mine))
    conn.execute(limit_levels.insert().values(account_key=account_key, window=window, level=value, at=at))


def _standing(row: sa.Row[Any]) -> Standing:
    return Standing(
        account_key=row.account_key,
        state=LimitState(row.state),
        detail=row.detail,
        plan=row.plan,
        email=row.email,
        windows=[window_of_json(one) for one in row.windows],
        asked_at=row.asked_at,
        next_at=row.next_at,
        failures=row.failures,
    )
