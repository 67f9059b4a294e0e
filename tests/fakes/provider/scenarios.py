"""What the fake model does: which scenario, which words, how many tokens, and when a limit resets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any

from agented.backends.events import TokensUsed

Json = dict[str, Any]


class Scenario(StrEnum):
    PLAIN = "plain"
    """A short text."""
    TOOL = "tool"
    """One call of the shell tool that writes a file, then a short text."""
    SLOWTOOL = "slowtool"
    """One call of the shell tool that sleeps for a day."""
    SLOW = "slow"
    """A long text, a word each 0.2 s."""
    HANG = "hang"
    """Takes the request and never answers."""
    DISCONNECT = "disconnect"
    """Half a text, then the connection is reset."""
    RATELIMIT = "ratelimit"
    """429 always: too many requests, again in two seconds."""
    RATELIMIT_ONCE = "ratelimit_once"
    """429 for the first request to each path, then like plain."""
    USAGELIMIT = "usagelimit"
    """429 always: the plan's allowance is used up and comes back in three hours."""
    WALL = "wall"
    """Like tool, but what follows the call gets the used-up allowance until the provider's wall is over."""
    QUOTA = "quota"
    """No credit, or the day's quota is gone: not worth a retry."""
    AUTH = "auth"
    """401 always."""
    OVERLOADED = "overloaded"
    """529 or 503 always."""
    SERVERERROR = "servererror"
    """500 always."""
    BADREQUEST = "badrequest"
    """404 always: there is no such model."""


ANSWER = "The rehearsed provider answers."
ANSWER_AFTER_TOOL = "The command has run."

TOOL_FILE = "made-by-tool.txt"
TOOL_COMMAND = f"echo written by the tool > {TOOL_FILE}"
SLOW_TOOL_FILE = "slow-started.txt"
# A length of sleep that nothing else has, so that a test can look for what is left of it.
SLOW_TOOL_COMMAND = f"echo started > {SLOW_TOOL_FILE}; sleep 97531"

RETRY_AFTER_S = 2
RESETS_IN_S = 3 * 3600
WEEK_RESETS_IN_S = 4 * 86400

# Every number is another one, so that a test sees which of them a CLI passed on and a translator counted. The wire
# form is what one answer reports; the TokensUsed beside it is what one answer must add to a run.
ANTHROPIC_WIRE: Json = {
    "input_tokens": 1201,  # without the two cache counts
    "cache_creation_input_tokens": 103,
    "cache_read_input_tokens": 302,
    "output_tokens": 54,
}
ANTHROPIC_TOKENS = TokensUsed(input=1201, output=54, cache_read=302, cache_write=103)

RESPONSES_WIRE: Json = {
    "input_tokens": 1511,  # with the cached ones
    "input_tokens_details": {"cached_tokens": 322},
    "output_tokens": 63,  # with the reasoning
    "output_tokens_details": {"reasoning_tokens": 21},
    "total_tokens": 1574,
}
RESPONSES_TOKENS = TokensUsed(input=1189, output=63, cache_read=322)

CHAT_WIRE: Json = {
    "prompt_tokens": 1402,  # with the cached ones
    "prompt_tokens_details": {"cached_tokens": 205},
    "completion_tokens": 41,  # with the reasoning
    "completion_tokens_details": {"reasoning_tokens": 12},
    "total_tokens": 1443,
}
CHAT_TOKENS = TokensUsed(input=1197, output=41, cache_read=205)

GEMINI_WIRE: Json = {
    "promptTokenCount": 1303,  # with the cached ones
    "cachedContentTokenCount": 256,
    "candidatesTokenCount": 45,  # without the thoughts
    "thoughtsTokenCount": 17,
    "totalTokenCount": 1365,
}
GEMINI_TOKENS = TokensUsed(input=1047, output=62, cache_read=256)


class Pace(Enum):
    """What a stream does between two of its pieces."""

    WAIT = "wait"
    BREAK_OFF = "break off"


@dataclass(frozen=True, slots=True)
class Failure:
    status: int
    body: Json
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer of the model: a call of the shell tool, or else words."""

    scenario: Scenario
    tool: str | None
    after_tool: bool

    @property
    def command(self) -> str:
        return SLOW_TOOL_COMMAND if self.scenario is Scenario.SLOWTOOL else TOOL_COMMAND

    @property
    def text(self) -> str:
        return ANSWER_AFTER_TOOL if self.after_tool else ANSWER

    def pieces(self) -> Iterator[str | Pace]:
        if self.scenario is Scenario.SLOW:
            for number in range(60):
                yield f"word{number} "
                yield Pace.WAIT
            return
        middle = len(self.text) // 2
        yield self.text[:middle]
        if self.scenario is Scenario.DISCONNECT:
            yield Pace.WAIT
            yield Pace.BREAK_OFF
        yield self.text[middle:]


def next_turn(scenario: Scenario, offered: list[str], shells: tuple[str, ...], after_tool: bool) -> Turn:
    """`offered`: the tools of the request; `shells`: what this API's CLIs call their shell, best first."""
    wanted = scenario in (Scenario.TOOL, Scenario.SLOWTOOL) and not after_tool
    tool = next((name for name in shells if name in offered), None)
    return Turn(scenario, tool if wanted else None, after_tool)
