"""Documents of kind Bot: the JSON schema and the reader agree, the gallery is sound, refusals name their field."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from agented.bots.gallery import Gallery, Ready
from agented.bots.model import FIELDS, read_spec
from agented.bots.saving import read_documents
from agented.bots.schema import SCHEMA
from agented.bots.triggers import GitHubTrigger, meet_event
from agented.bots.words import final_words, json_block, read_review
from agented.kit.errors import Invalid
from agented.projects.events import GitHubEvent, Ignored, read_event
from agented.projects.github import parse_remote

BOT: dict[str, Any] = {
    "kind": "Bot",
    "name": "bot",
    "prompt": "say x",
    "chain": [{"backend": "rehearsal"}],
    "projects": ["p"],
}
SHA = "1" * 40


def good(document: Any) -> bool:
    return not list(Draft202012Validator(dict(SCHEMA)).iter_errors(document))


def test_the_schema_is_a_schema_and_knows_every_field() -> None:
    Draft202012Validator.check_schema(dict(SCHEMA))
    assert set(SCHEMA["properties"]) == FIELDS | {"kind", "name", "enabled"}


@pytest.mark.parametrize("ready", Gallery().all(), ids=lambda one: one.name)
def test_the_gallery_holds_only_sound_bots(ready: Ready) -> None:
    assert good(ready.document)
    read_documents([ready.document])
    assert ready.title
    assert ready.summary
    assert ready.rehearsal.strip()


@pytest.mark.parametrize(
    "more",
    [
        {"triggers": [{"github": {}}], "projects": None},
        {"triggers": [{"github": {"events": ["push"], "branches": "main", "paths": ["src/*", "!*.md"]}}]},
        {"triggers": [{"schedule": {"cron": "@daily", "timezone": "Europe/Berlin", "catch_up": "all"}}]},
        {"triggers": [{"after": {"bot": "other", "states": ["failed", "succeeded"]}}]},
        {"triggers": [{"webhook": {"verify": {"style": "none"}, "match": {"path": "payload.a"}}}]},
        {"result": "report", "on_failure": {"pause_after": 0}, "concurrency": {"bot": 2, "object": 1}},
        {"result": [{"kind": "json", "schema": {"type": "object"}}, {"kind": "pull_request", "optional": True}]},
        {"chain": [{"backend": "rehearsal"}, {"backend": "rehearsal", "account": "a", "model": "m"}]},
    ],
)
def test_schema_and_reader_take_the_same(more: dict[str, Any]) -> None:
    document = {key: value for key, value in {**BOT, **more}.items() if value is not None}
    assert good(document)
    read_documents([document])


@pytest.mark.parametrize(
    ("field", "more"),
    [
        ("chain", {"chain": []}),
        ("chain[1].backend", {"chain": [{"backend": "a"}, {}]}),
        ("triggers[0]", {"triggers": [{"github": {}, "schedule": {}}]}),
        ("triggers[0]", {"triggers": [{"moon": {}}]}),
        ("triggers[0].github.events", {"triggers": [{"github": {"events": ["star"]}}]}),
        ("triggers[0].github.command", {"triggers": [{"github": {"command": "review"}}]}),
        ("triggers[0].github.colour", {"triggers": [{"github": {"colour": "red"}}]}),
        ("triggers[0].schedule.cron", {"triggers": [{"schedule": {"cron": "often"}}]}),
        ("triggers[0].schedule.timezone", {"triggers": [{"schedule": {"cron": "@daily", "timezone": "Moon/Sea"}}]}),
        ("triggers[0].after.states", {"triggers": [{"after": {"bot": "a", "states": ["happy"]}}]}),
        ("result.kind", {"result": "applause"}),
        ("result.schema", {"result": {"kind": "json"}}),
        ("result.schema", {"result": {"kind": "json", "schema": {"type": "nonsense"}}}),
        ("result.schema", {"result": {"kind": "json", "schema": {"$ref": "http://127.0.0.1/x"}}}),
        ("result.folder", {"result": {"kind": "report", "folder": "../out"}}),
        ("result.base", {"result": {"kind": "pull_request", "base": "--upload-pack=x"}}),
        ("concurrency.object", {"concurrency": {"object": -1}}),
        ("projects", {"projects": []}),
        ("name", {"name": "gallery"}),
    ],
)
def test_what_is_wrong_is_named(field: str, more: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as refused:
        read_documents([{**BOT, **more}], "document")
    assert refused.value.field == f"document.{field}"
    assert refused.value.hint or refused.value.message


def event(kind: str = "pull_request", **more: Any) -> GitHubEvent:
    pull = {
        "number": 7,
        "user": {"login": "dev"},
        "head": {"ref": "feat", "sha": SHA, "repo": {"full_name": "o/r"}},
        "base": {"ref": "main", "sha": SHA, "repo": {"full_name": "o/r"}},
        "labels": [{"name": "bug"}],
        **more,
    }
    payload = {
        "action": "opened",
        "pull_request": pull,
        "repository": {"full_name": "o/r", "html_url": "https://github.com/o/r"},
        "sender": {"login": "dev", "type": "User"},
    }
    read = read_event(kind, payload)
    assert isinstance(read, GitHubEvent)
    return read


def trigger(**more: Any) -> GitHubTrigger:
    [made] = read_spec(
        {key: value for key, value in BOT.items() if key not in ("kind", "name")} | {"triggers": [{"github": more}]}, {}
    ).github
    return made


@pytest.mark.parametrize(
    ("filters", "change", "met"),
    [
        ({}, {}, True),
        ({"repositories": ["o/*"]}, {}, True),
        ({"repositories": ["O/R"]}, {}, True),
        ({"repositories": ["x/*"]}, {}, False),
        ({"repositories": ["!o/r"]}, {}, False),
        ({"branches": ["main", "release/*"]}, {}, True),
        ({"branches": ["release/*"]}, {}, False),
        ({"labels": ["bug"]}, {}, True),
        ({"labels": ["feature"]}, {}, False),
        ({"authors": ["!dev"]}, {}, False),
        ({}, {"draft": True}, False),
        ({"drafts": True}, {"draft": True}, True),
        ({"actions": ["closed"]}, {}, False),
        ({"events": ["push"]}, {}, False),
        ({}, {"head": {"ref": "agented/x/1", "sha": SHA, "repo": {"full_name": "o/r"}}}, False),
    ],
)
def test_filters_of_github_triggers(filters: dict[str, Any], change: dict[str, Any], met: bool) -> None:
    told = meet_event(trigger(**filters), event(**change))
    assert told.met is met, told.why
    assert told.why


def test_a_fork_is_an_outsiders_and_so_is_one_that_is_gone() -> None:
    assert event().insider
    for repo in ({"full_name": "stranger/r"}, None):
        read = event(head={"ref": "feat", "sha": SHA, "repo": repo})
        assert (read.fork, read.insider) == (True, False)


@pytest.mark.parametrize(
    "payload", [None, [], {}, {"repository": 3}, {"repository": {"full_name": "../../etc"}}, {"action": []}]
)
@pytest.mark.parametrize("kind", ["pull_request", "issue_comment", "issues", "push", "check_suite", "star", ""])
def test_events_of_any_shape_are_ignored_with_a_reason(kind: str, payload: Any) -> None:
    read = read_event(kind, payload)
    assert isinstance(read, Ignored)
    assert read.reason


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://github.com/o/r.git", "github.com/o/r"),
        ("https://GitHub.com/O/R", "github.com/o/r"),
        ("git@github.com:o/r.git", "github.com/o/r"),
        ("ssh://git@ghe.example.test:2222/o/r.git", "ghe.example.test/o/r"),
        ("https://localhost:8443/o/r", "localhost:8443/o/r"),
        ("/home/me/r", None),
        ("https://github.com/o", None),
        ("https://github.com/o/r/s", None),
        ("https://github.com/o/..", None),
        (None, None),
    ],
)
def test_addresses_name_repositories(url: str | None, expected: str | None) -> None:
    found = parse_remote(url)
    assert (None if found is None else str(found)) == expected


def test_final_words_are_what_was_said_last() -> None:
    events: list[dict[str, Any]] = [
        {"type": "said", "text": "first"},
        {"type": "tool_called"},
        {"type": "said", "text": "hm", "thinking": True},
        {"type": "said", "text": "It is "},
        {"type": "said", "text": "done.", "delta": True},
        {"type": "concluded", "ok": True, "summary": ""},
    ]
    assert final_words(events) == "It is done."
    assert final_words([*events, {"type": "concluded", "ok": True, "summary": "All done."}]) == "All done."
    assert final_words([]) == ""


def test_reviews_are_read_whatever_a_model_writes() -> None:
    block = '```json\n{"verdict": "approve", "summary": "Fine.", "findings": [{"title": "t", "line": -3}, 7, {}]}\n```'
    review = read_review(f"Here it is:\n```python\nx\n```\n{block}\nBye.")
    assert (review.verdict, review.summary, len(review.findings), review.findings[0].line) == ("approve", "Fine.", 1, 0)
    words = read_review("Just words, {not json}")
    assert (words.verdict, words.summary, words.findings) == ("comment", "Just words, {not json}", [])
    assert json_block("[" * 100_000) is None
    assert json_block('```json\n{"a": 1}\n```\n```\n{"b": 2}\n```') == {"b": 2}
