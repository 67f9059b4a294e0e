"""Brings a run's declared result to where people expect it, and checks that it is there.

Everything here may be done again after a crash: a branch, a pull request, a comment or a report of this run that is
there already is found and not made twice.
"""

from __future__ import annotations

import logging
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agented.bots import store, texts
from agented.bots.declared import Kind, Result
from agented.bots.model import Bot
from agented.bots.reports import Reports
from agented.bots.store import BotRun, KeptResult
from agented.bots.words import Review, final_words, json_block, read_findings, read_review
from agented.executions.journal import Journal
from agented.executions.model import Execution
from agented.executions.worker import Delivered
from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.errors import AgentedError, Conflict, Invalid, NotFound, is_outage
from agented.kit.loose import mapping
from agented.projects.git import Git, find_repository
from agented.projects.github import Comment, GitHub, Remote, check_remote, parse_remote
from agented.projects.model import Project, Workspace
from agented.projects.workspaces import Workspaces

log = logging.getLogger(__name__)

_PAUSES_S = (1.0, 3.0, 10.0, 30.0, 60.0, 120.0)
_READ_AT_ONCE = 1000
_LAST_EVENTS = 3000
_ORDER = (Kind.JSON, Kind.REPORT, Kind.BRANCH, Kind.PULL_REQUEST, Kind.COMMENT, Kind.REVIEW, Kind.NOTHING)


class NoResult(Exception):
    """The run ended without what was asked of it."""


@dataclass(frozen=True, slots=True)
class _Job:
    """One run whose result is wanted."""

    execution: Execution
    workspace: Workspace
    run: BotRun
    bot: Bot
    project: Project
    words: str
    done: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """link: the address of a run's page."""

    db: Database
    clock: Clock
    git: Git
    github: GitHub
    workspaces: Workspaces
    project: Callable[[str], Project | None]
    runs: Path
    reports: Reports
    link: Callable[[str], str]
    bot_of: Callable[[BotRun], Bot | None]

    def deliver(self, execution: Execution, workspace: Workspace, leaving: threading.Event) -> Delivered:
        """After a success of the CLI. Tries again while GitHub or the network fail; a fault of ours is told at once."""
        with self.db.read() as conn:
            run = store.find_run(conn, execution.id)
            kept = store.find_result(conn, execution.id)
        bot = None if run is None else self.bot_of(run)
        project = self.project(execution.request.project_id)
        if run is None or bot is None or project is None or _wants_nothing(bot):
            return Delivered()
        words = final_words(self._events(execution.id))
        job = _Job(execution, workspace, run, bot, project, words, () if kept is None else kept.evidence)
        return self._patiently(job, leaving)

    def words_of(self, execution_id: str) -> str:
        """What a run said at its end."""
        return final_words(self._events(execution_id))

    def drop_branch(self, execution_id: str) -> None:
        """Deletes from the remote what a run has pushed there. Raises NotFound when it pushed nothing."""
        with self.db.read() as conn:
            kept = store.find_result(conn, execution_id)
        branch = next((str(one["branch"]) for one in (kept.evidence if kept else ()) if one.get("branch")), None)
        project = None if kept is None else self.project(kept.project_id)
        if branch is None or project is None:
            raise NotFound("This run has pushed no branch.")
        repository = find_repository(project.path)
        url = project.url or self.git.remote_url(repository)
        if url is not None and self.git.branch_at(url, branch) is not None:
            self.git.delete_branch(repository, url, branch)

    def _patiently(self, job: _Job, leaving: threading.Event) -> Delivered:
        for pause_s in (*_PAUSES_S, None):
            try:
                self._produce_all(job)
                return Delivered()
            except NoResult as missing:
                return self._failed(job, "no_result", str(missing))
            except AgentedError as error:
                if is_outage(error):
                    raise
                if error.status < 500 or pause_s is None:
                    return self._failed(job, "result_failed", error.message)
                log.warning("the result of %s: %s", job.execution.id, error.message)
            if leaving.wait(pause_s):
                break
            with self.db.read() as conn:
                kept = store.find_result(conn, job.execution.id)
            job = _again(job, () if kept is None else kept.evidence)
        return Delivered()

    def _produce_all(self, job: _Job) -> None:
        evidence = list(job.done)
        missing: list[str] = []
        for result in sorted(job.bot.spec.results, key=lambda one: _ORDER.index(one.kind)):
            if any(one["kind"] == result.kind for one in evidence):
                continue
            try:
                found = self._produce(result, job, evidence)
            except NoResult as error:
                if not result.optional:
                    raise
                missing.append(str(error))
                continue
            if found is not None:
                evidence.append({"kind": str(result.kind), **found})
                self._keep(job, "pending", evidence, None)
        self._keep(job, "delivered", evidence, " ".join(missing) or None)

    def _failed(self, job: _Job, reason: str, detail: str) -> Delivered:
        with self.db.read() as conn:
            kept = store.find_result(conn, job.execution.id)
        self._keep(job, "failed", () if kept is None else kept.evidence, detail)
        return Delivered(reason, detail)

    def _keep(self, job: _Job, state: str, evidence: Sequence[Mapping[str, Any]], detail: str | None) -> None:
        kept = KeptResult(
            execution_id=job.execution.id,
            bot_id=job.bot.id,
            project_id=job.project.id,
            state=state,
            evidence=list(evidence),
            detail=detail,
            updated_at=self.clock.now(),
        )
        with self.db.write() as conn:
            store.put_result(conn, kept)

    def _events(self, execution_id: str) -> Iterator[Mapping[str, Any]]:
        with Journal(self.runs / execution_id) as journal:
            after = max(0, journal.count() - _LAST_EVENTS)
            while events := journal.read(after, _READ_AT_ONCE):
                yield from events
                after = int(events[-1]["seq"])

    # --- each kind

    def _produce(self, result: Result, job: _Job, evidence: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        if result.kind is Kind.NOTHING:
            return None
        if result.kind is Kind.BRANCH:
            return self._branch(job)
        if result.kind is Kind.PULL_REQUEST:
            pushed = next((one for one in evidence if one["kind"] == Kind.BRANCH), None)
            return self._pull_request(result, job, pushed or self._branch(job))
        if not job.words:
            raise NoResult("It said nothing at its end.")
        if result.kind is Kind.JSON:
            return {"value": self._value(result, job)}
        if result.kind is Kind.REPORT:
            return self._report(result, job)
        if result.kind is Kind.COMMENT:
            return _shown(self._comment(job, texts.comment(job.bot.name, job.words, self.link(job.execution.id))))
        return self._review(result, job)

    def _value(self, result: Result, job: _Job) -> Any:
        from jsonschema import Draft202012Validator

        value = json_block(job.words)
        if value is None:
            raise NoResult("It ended without a block of JSON.")
        wrong = next(iter(Draft202012Validator(dict(result.schema or {})).iter_errors(value)), None)
        if wrong is not None:
            place = "/".join(str(part) for part in wrong.absolute_path)
            raise NoResult(f"Its JSON does not fit the schema at /{place}: {wrong.message[:200]}")
        return value

    def _report(self, result: Result, job: _Job) -> Mapping[str, Any]:
        told = mapping(self._value(result, job) if result.schema is not None else json_block(job.words))
        return self.reports.keep(
            project=job.project,
            bot=job.bot.name,
            execution_id=job.execution.id,
            at=job.execution.created_at,
            words=job.words,
            findings=read_findings(told),
            folder=result.folder,
        )

    def _branch(self, job: _Job) -> Mapping[str, Any]:
        """Pushes what was changed under a name that is this run's own."""
        url = job.project.url or self.git.remote_url(find_repository(job.project.path))
        if url is None:
            raise Conflict("The project has no remote to push to.", code="no_remote", hint="Add it by its address.")
        branch = branch_of(job.bot.name, job.execution.id)
        pushed = self.git.branch_at(url, branch)
        if pushed is None:
            message = texts.commit_message(job.bot.name, job.words, self.link(job.execution.id))
            commit = self.workspaces.commit(job.workspace, message)
            if commit is None:
                raise NoResult("It changed nothing.")
            self.git.push(find_repository(job.project.path), url, commit, branch)
            pushed = self.git.branch_at(url, branch)
            if pushed != commit:
                raise Conflict(f"The remote has {branch} at another commit than was pushed.", code="branch_moved")
        remote = parse_remote(url)
        shown = None if remote is None else f"https://{remote.host}/{remote.path}/tree/{branch}"
        return {"branch": branch, "commit": pushed, "url": shown}

    def _pull_request(self, result: Result, job: _Job, pushed: Mapping[str, Any]) -> Mapping[str, Any]:
        remote = self._remote(job)
        branch = str(pushed["branch"])
        found = self.github.pull_of_branch(remote, branch)
        if found is None:
            base = result.base or str(job.run.about.get("head_ref") or "") or self._default_branch(remote, job.project)
            title = result.title or texts.title_of(job.bot.name, job.words)
            with tempfile.TemporaryDirectory() as folder:
                body = Path(folder) / "body.md"
                body.write_text(texts.comment(job.bot.name, job.words, self.link(job.execution.id)))
                self.github.create_pull(remote, branch=branch, base=base, title=title, body=body, draft=result.draft)
            found = self.github.pull_of_branch(remote, branch)
        if found is None:
            raise Conflict("GitHub does not show the pull request that was opened.", code="pull_request_missing")
        return {**pushed, "kind": str(Kind.PULL_REQUEST), "url": found.url, "number": found.number}

    def _default_branch(self, remote: Remote, project: Project) -> str:
        told = mapping(self.github.view(remote).get("defaultBranchRef")).get("name")
        return str(told or project.default_branch)

    def _remote(self, job: _Job) -> Remote:
        about = job.run.about
        if about.get("repository"):
            return check_remote(str(about["host"]), str(about["repository"]))
        url = job.project.url or self.git.remote_url(find_repository(job.project.path))
        remote = parse_remote(url)
        if remote is None:
            raise Conflict("The project has no remote at a GitHub host.", code="no_remote")
        return remote

    def _comment(self, job: _Job, body: str) -> Comment:
        """The one comment of this bot there: changed when it is there, else made."""
        number = job.run.about.get("number")
        if number is None:
            raise NoResult("Nothing that could be commented started it.")
        remote, subject = self._remote(job), str(job.run.about.get("subject"))
        with self.db.read() as conn:
            known = store.comment_of(conn, job.bot.id, subject)
        comment = None
        if known is not None:
            try:
                comment = self.github.change_comment(remote, known, body)
            except NotFound:
                known = None
        if comment is None:
            mark = texts.mark(job.bot.name)
            there = next((one for one in self.github.comments(remote, int(number)) if mark in one.body), None)
            if there is None:
                comment = self.github.comment(remote, int(number), body)
            else:
                comment = self.github.change_comment(remote, there.id, body)
        with self.db.write() as conn:
            store.keep_comment(conn, job.bot.id, subject, comment.id)
        return comment

    def _review(self, result: Result, job: _Job) -> Mapping[str, Any]:
        review = read_review(job.words)
        if not review.summary and not review.findings:
            raise NoResult("It ended without a summary and without findings.")
        lines = self._lines(job)
        placed = [one for one in review.findings if one.line in lines.get(one.path, ())]
        noted = self._post_review(result, job, review, placed) if placed or result.verdict else None
        shown = [one for one in review.findings if noted is None or one not in placed]
        body = texts.review(job.bot.name, review, shown, len(review.findings), self.link(job.execution.id))
        comment = self._comment(job, body)
        return {
            **_shown(comment),
            "verdict": review.verdict,
            "findings": len(review.findings),
            "on_lines": 0 if noted is None else len(placed),
            "review_url": None if noted is None else noted.url,
        }

    def _lines(self, job: _Job) -> Mapping[str, frozenset[int]]:
        base, head = job.run.about.get("base"), job.run.about.get("head")
        if not base or not head:
            return {}
        try:
            return self.workspaces.changed_lines(job.workspace, str(base), str(head))
        except AgentedError as error:
            log.warning("the lines of %s: %s", job.execution.id, error.message)
            return {}

    def _post_review(self, result: Result, job: _Job, review: Review, placed: Sequence[Any]) -> Comment | None:
        """The findings on their lines; None when GitHub does not take them there."""
        remote, number = self._remote(job), int(job.run.about["number"])
        mark = texts.mark(job.bot.name, job.execution.id)
        there = next((one for one in self.github.reviews(remote, number) if mark in one.body), None)
        if there is not None:
            return there
        events = {"approve": "APPROVE", "request_changes": "REQUEST_CHANGES"} if result.verdict else {}
        comments = [{"path": one.path, "line": one.line, "side": "RIGHT", "body": texts.finding(one)} for one in placed]
        try:
            return self.github.review(
                remote,
                number,
                commit=str(job.run.about["head"]),
                body=texts.review_body(job.bot.name, job.execution.id, review),
                event=events.get(review.verdict, "COMMENT"),
                comments=comments,
            )
        except Invalid as error:
            log.warning("the review of %s: %s", job.execution.id, error.message)
            return None


def branch_of(bot: str, execution_id: str) -> str:
    """The branch that one run pushes; always the same for the same run."""
    return f"agented/{re.sub(r'[^a-z0-9_-]+', '-', bot)}/{execution_id.rpartition('_')[2].lower()}"


def _wants_nothing(bot: Bot) -> bool:
    return all(one.kind is Kind.NOTHING for one in bot.spec.results)


def _shown(comment: Comment) -> Mapping[str, Any]:
    return {"url": comment.url, "comment_id": comment.id}


def _again(job: _Job, evidence: Sequence[Mapping[str, Any]]) -> _Job:
    return _Job(job.execution, job.workspace, job.run, job.bot, job.project, job.words, evidence)
