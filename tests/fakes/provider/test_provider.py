"""The loopback provider itself: what a client of each API gets."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.fakes.provider import ANSWER, RETRY_AFTER_S, TOOL_COMMAND, Provider, Scenario

PATHS = {
    "messages": "/v1/messages",
    "responses": "/v1/responses",
    "chat": "/v1/chat/completions",
    "gemini": "/v1beta/models/fake-model:streamGenerateContent?alt=sse",
}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str


def ask(provider: Provider, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
    connection = http.client.HTTPConnection(provider.url.removeprefix("http://"), timeout=20)
    try:
        sent = None if body is None else json.dumps(body)
        connection.request("GET" if body is None else "POST", path, sent, dict(headers or {}))
        answer = connection.getresponse()
        text = answer.read().decode()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, text)
    finally:
        connection.close()


@pytest.mark.parametrize("api", PATHS)
def test_a_plain_answer_streams(api: str) -> None:
    with Provider() as provider:
        answer = ask(provider, PATHS[api], {"stream": True})
    assert answer.status == 200
    said = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    assert ANSWER[: len(ANSWER) // 2] in json.dumps(said)


def test_answers_can_be_whole() -> None:
    with Provider() as provider:
        for path in ("/v1/messages", "/v1/chat/completions", "/v1beta/models/m:generateContent"):
            assert ANSWER in json.dumps(json.loads(ask(provider, path, {}).text))


def test_models_and_token_counts_are_answered() -> None:
    with Provider() as provider:
        assert json.loads(ask(provider, "/v1/models").text)["data"][0]["id"] == "fake-model"
        assert json.loads(ask(provider, "/v1/messages/count_tokens", {}).text) == {"input_tokens": 1201}
        assert json.loads(ask(provider, "/v1beta/models/m:countTokens", {}).text) == {"totalTokens": 1303}


@pytest.mark.parametrize(
    ("scenario", "statuses"),
    [
        ("ratelimit", [429, 429, 429, 429]),
        ("usagelimit", [429, 429, 429, 429]),
        ("quota", [400, 429, 429, 429]),
        ("auth", [401, 401, 401, 401]),
        ("overloaded", [529, 503, 503, 503]),
        ("servererror", [500, 500, 500, 500]),
        ("badrequest", [404, 404, 404, 404]),
    ],
)
def test_failures_have_each_apis_own_status(scenario: str, statuses: list[int]) -> None:
    with Provider(scenario) as provider:
        answers = [ask(provider, path, {"stream": True}) for path in PATHS.values()]
    assert [answer.status for answer in answers] == statuses
    assert all("error" in json.loads(answer.text) for answer in answers)


def test_the_path_chooses_the_scenario_before_the_default() -> None:
    with Provider("auth") as provider:
        assert provider.url_for("ratelimit") == f"{provider.url}/s/ratelimit"
        answer = ask(provider, "/s/ratelimit/v1/messages", {})
        assert answer.status == 429
        assert answer.headers["retry-after"] == str(RETRY_AFTER_S)
        assert ask(provider, "/s/unheard-of/v1/messages", {}).status == 401
        assert [seen.scenario for seen in provider.requests] == [Scenario.RATELIMIT, Scenario.AUTH]


def test_the_rate_limit_can_be_passing() -> None:
    with Provider("ratelimit_once") as provider:
        assert [ask(provider, "/v1/messages", {}).status for _ in range(3)] == [429, 200, 200]


def test_the_tool_is_called_once_and_only_when_it_is_offered() -> None:
    offer: dict[str, Any] = {"tools": [{"name": "Bash"}], "messages": [{"role": "user", "content": "go"}]}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": "ok"}]}
    with Provider("tool") as provider:
        first = json.loads(ask(provider, "/v1/messages", offer).text)
        second = json.loads(ask(provider, "/v1/messages", {**offer, "messages": [result]}).text)
        without = json.loads(ask(provider, "/v1/messages", {}).text)
    assert first["content"][0]["input"]["command"] == TOOL_COMMAND
    assert [answer["stop_reason"] for answer in (first, second, without)] == ["tool_use", "end_turn", "end_turn"]


def test_a_subscription_is_told_what_is_left_and_a_key_is_not() -> None:
    with Provider() as provider:
        bearer = ask(provider, "/v1/messages", {}, {"Authorization": "Bearer x"})
        key = ask(provider, "/v1/messages", {}, {"X-Api-Key": "x"})
    assert bearer.headers["anthropic-ratelimit-unified-5h-utilization"] == "0.37"
    assert not any(name.startswith("anthropic-ratelimit") for name in key.headers)


def test_a_request_is_remembered_without_its_credentials() -> None:
    secret = "sk-do-not-keep-this"
    with Provider() as provider:
        ask(provider, "/v1/messages", {"model": "m"}, {"X-Api-Key": secret, "Authorization": f"Bearer {secret}"})
        seen = provider.requests[0]
    assert seen.credentials == ("authorization", "x-api-key")
    assert seen.body == {"model": "m"}
    assert secret not in repr(seen)


@pytest.mark.parametrize("api", PATHS)
def test_a_disconnect_comes_in_the_middle(api: str) -> None:
    with Provider("disconnect") as provider, pytest.raises((ConnectionError, http.client.IncompleteRead)):
        ask(provider, PATHS[api], {"stream": True})


@pytest.mark.parametrize("scenario", ["hang", "slow"])
def test_closing_ends_what_has_not_been_answered(scenario: str) -> None:
    failures: list[BaseException] = []
    with Provider(scenario) as provider:

        def wait() -> None:
            try:
                ask(provider, "/v1/messages", {"stream": True})
            except (http.client.HTTPException, ConnectionError) as error:
                failures.append(error)

        client = threading.Thread(target=wait)
        client.start()
        while not provider.requests:
            client.join(0.01)
    client.join(10)
    assert not client.is_alive()
    assert failures
