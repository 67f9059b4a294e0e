"""What people and programs outside are told, in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agented.accounts.monitor import Crossed
from agented.budgets.model import Standing
from agented.kit.ids import new_id
from agented.notices.model import Notice, Topic
from agented.notices.outbox import Outbox
from agented.projects.model import Project, Sync

if TYPE_CHECKING:
    import sqlalchemy as sa


@dataclass(frozen=True, slots=True)
class Telling:
    """public: the address of a page for people outside. name_of: an account's name by its key."""

    notices: Outbox
    public: Callable[[str], str]
    name_of: Callable[[sa.Connection, str], str]

    def of_bot(self, conn: sa.Connection, topic: str, told: Mapping[str, Any]) -> None:
        """What bots did, for people and programs outside."""
        if topic == Topic.BOT_PAUSED:
            title, body, link, key = f"{told['bot']} was paused", told["why"], f"/bots/{told['bot']}", new_id("ntc")
        else:
            addresses = [str(one["url"]) for one in told["result"] if one.get("url")]
            title = f"{told['bot']} {str(told['state']).replace('_', ' ')}: {told['title']}"
            body = "\n".join([*([told["cause"]] if told["cause"] else []), *addresses])
            link, key = f"/runs/{told['execution']}", f"run:{told['execution']}"
        facts = {**told, "address": self.public(link)}
        self.notices.publish(conn, Notice(topic=Topic(topic), title=title, body=body, link=link, facts=facts, key=key))

    def of_sync(self, conn: sa.Connection, project: Project, sync: Sync) -> None:
        notice = Notice(
            topic=Topic.SYNC_FAILED,
            title=f"{project.name} could not be brought up to date",
            body=sync.synced.detail or "",
            link=f"/projects/{project.id}",
            facts={"project": project.name, "address": self.public(f"/projects/{project.id}")},
            key=new_id("ntc"),
        )
        self.notices.publish(conn, notice)

    def of_limit(self, conn: sa.Connection, crossed: Crossed) -> None:
        account_key, window, level = crossed
        reset = "" if window.resets_at is None else f", renewed at {window.resets_at:%Y-%m-%d %H:%M} UTC"
        name = self.name_of(conn, account_key)
        facts = {
            "account": name,
            "key": account_key,
            "window": window.name,
            "level": level,
            "used_percent": window.used_percent,
            "address": self.public("/accounts"),
        }
        notice = Notice(
            topic=Topic.LIMIT_CROSSED,
            title=f"{name} has used {level:g} % of its limit ({window.title})",
            body=f"{window.used_percent:g} %{reset}",
            link="/accounts",
            facts=facts,
            key=new_id("ntc"),
        )
        self.notices.publish(conn, notice)

    def of_budget(self, conn: sa.Connection, standing: Standing, level: str) -> None:
        budget = standing.budget
        limit = budget.hard if level == "hard" else budget.soft
        unit = "usd" if budget.window is None else "percent"
        facts: dict[str, Any] = {
            "budget": budget.name,
            "target": standing.target,
            "level": level,
            f"limit_{unit}": f"{limit:f}",
            f"spent_{unit}": f"{standing.spent:f}",
            **({} if budget.window is None else {"window": budget.window}),
            "address": self.public("/insights"),
        }
        title = f"The budget {budget.name} {'is spent' if level == 'hard' else 'has crossed its soft limit'}"
        body = standing.words(limit) + (f" for {standing.target}" if standing.target else "")
        self.notices.publish(
            conn,
            Notice(
                topic=Topic.BUDGET_CROSSED, title=title, body=body, link="/insights", facts=facts, key=new_id("ntc")
            ),
        )
