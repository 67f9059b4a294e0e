"""Home folders full of session files, as the four CLIs write them, with the truth about them by construction.

Everything that makes naive counting wrong is in them: answers told several times as they grow, helpers' own files,
replays on side chains, resumed and forked sessions, repeated totals, caches kept for an hour, long contexts, fast
answers, messages written anew, last lines that are not whole.
"""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

_MTOK = Decimal(1_000_000)
# Dollars for a million tokens: input, output, cache read, cache write, cache write for an hour.
PRICES: Mapping[str, tuple[str, str, str, str, str]] = {
    "claude-opus-4-5": ("5", "25", "0.5", "6.25", "10"),
    "claude-opus-5": ("5", "25", "0.5", "6.25", "10"),
    "claude-haiku-4-5": ("1", "5", "0.1", "1.25", "2"),
    "gpt-5.3-codex": ("1.75", "14", "0.175", "0", "0"),
    "gemini-2.5-pro": ("1.25", "10", "0.125", "0", "0"),
    "gemini-2.5-flash": ("0.3", "2.5", "0.03", "0", "0"),
}
LONG = {"gemini-2.5-pro": (200_000, ("2.5", "15", "0.25", "0", "0"))}
FAST = {"claude-opus-5": 2}
COLUMNS = ("messages", "input", "output", "cache_read", "cache_write", "cache_write_1h", "reasoning")
_FILLER = 'The quick brown fox says \\"usage\\":{ and jumps over the lazy dog, \\n  then reads the next file.\\t'


@dataclass
class Sums:
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COLUMNS, 0))
    cost: Decimal | None = None


class Truth(dict[tuple[str, str, str], Sums]):
    """What was really taken, by source, model and day (UTC)."""

    def add(self, source: str, model: str, at: datetime, *, cost: Decimal | None, **counts: int) -> None:
        sums = self.setdefault((source, model, at.date().isoformat()), Sums())
        sums.counts["messages"] += 1
        for name, count in counts.items():
            sums.counts[name] += count
        if cost is not None:
            sums.cost = (sums.cost or Decimal(0)) + cost

    def rows(self) -> dict[tuple[str, str, str], tuple[Any, ...]]:
        return {key: (*sums.counts.values(), sums.cost) for key, sums in self.items()}


def told(answer: Mapping[str, Any]) -> dict[tuple[str, str, str], tuple[Any, ...]]:
    """What `agented costs scan` says, in the shape of `Truth.rows`; dollars to the hundred-millionth."""
    return {
        (row["source"], row["model"], row["date"]): (
            *(row[name] for name in COLUMNS),
            None if row["cost_usd"] is None else Decimal(str(row["cost_usd"])).quantize(Decimal("1e-8")),
        )
        for row in answer["totals"]
    }


def price(model: str, tokens: tuple[int, int, int, int, int], *, fast: bool = False) -> Decimal | None:
    """input, output, cache read, cache write, cache write for an hour."""
    if model not in PRICES:
        return None
    beyond, dear = LONG.get(model, (0, PRICES[model]))
    long = beyond and tokens[0] + sum(tokens[2:]) > beyond
    total = sum(count * Decimal(one) for count, one in zip(tokens, dear if long else PRICES[model], strict=True))
    return total * (FAST.get(model, 1) if fast else 1) / _MTOK


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


class Tree:
    """Writes below a home folder. `pad`: characters of other text around each answer."""

    def __init__(self, home: Path, seed: int = 7, pad: int = 200) -> None:
        self.home = home
        self.truth = Truth()
        self.rng = random.Random(seed)
        self.pad = pad
        self.written = 0
        self._now = datetime(2026, 10, 1, 8, 0, tzinfo=UTC)
        self._number = 0
        self._totals: dict[str, list[int]] = {}

    def new_id(self, prefix: str) -> str:
        self._number += 1
        return f"{prefix}{self._number:08x}{self.rng.getrandbits(64):016x}"

    def tick(self, seconds: float = 0) -> datetime:
        self._now += timedelta(milliseconds=int(seconds * 1000) or self.rng.randint(2_000, 90_000))
        return self._now

    def _begin(self, prefix: str) -> str:
        """A new session, hours after the one before."""
        self.tick(self.rng.randint(3_600, 30_000))
        return self.new_id(prefix)

    def filler(self, size: int | None = None) -> str:
        size = self.pad if size is None else size
        return (_FILLER * (size // len(_FILLER) + 1))[: size // len(_FILLER) * len(_FILLER)]

    @contextmanager
    def file(self, path: Path, mode: str = "w") -> Iterator[IO[str]]:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open(mode, encoding="utf-8") as out:
            yield out
        self.written += path.stat().st_size

    def claude(self, answers: int, *, folder: str = ".claude", extras: bool = True) -> Path:
        """A session; with its extras: a helper's file that also replays on a side chain, a fork, a torn last line."""
        session = self._begin("ses-")
        path = self.home / folder / "projects" / "-work-sample" / f"{session}.jsonl"
        lines: list[str] = []
        with self.file(path) as out:
            for _ in range(answers):
                lines = self.claude_answer(out, session)
            if extras:
                out.write(lines[-1][: len(lines[-1]) // 2])
        if not extras:
            return path
        helper = path.with_suffix("") / "subagents" / f"agent-{self.new_id('a')}.jsonl"
        with self.file(helper) as out:
            for line in lines:
                value = json.loads(line)
                if value["type"] == "assistant":
                    replay = {**value, "isSidechain": True, "requestId": self.new_id("req_")}
                    out.write(json.dumps(replay, separators=(",", ":")) + "\n")
            for _ in range(max(1, answers // 4)):
                self.claude_answer(out, session, side=True)
        fork = path.with_name(f"{self.new_id('ses-')}.jsonl")
        with self.file(fork) as out:
            out.writelines(line.replace(session, fork.stem) for line in lines)
            self.claude_answer(out, fork.stem)
        return path

    def claude_answer(self, out: IO[str], session: str, *, side: bool = False) -> list[str]:
        """An answer and what came before it; gives its lines."""
        rng, at = self.rng, self.tick()
        model = rng.choice(["claude-opus-4-5", "claude-opus-4-5", "claude-opus-5", "claude-haiku-4-5", "house-model"])
        given, output, read = rng.randint(1, 9_000), rng.randint(20, 4_000), rng.randint(0, 400_000)
        written, hour = rng.randint(0, 20_000), rng.choice([0, 0, rng.randint(1, 9_000)])
        fast = model == "claude-opus-5" and rng.random() < 0.5
        speed = ',"speed":"fast"' if fast else ""
        message, request = self.new_id("msg_01"), self.new_id("req_01")
        common = f'"sessionId":"{session}","version":"2.1.330","cwd":"/work/sample","gitBranch":"main"'
        helped = '"totalTokens":9,"usage":{"input_tokens":7,"output_tokens":9}' if rng.random() < 0.2 else ""
        lines = [
            f'{{"parentUuid":null,"isSidechain":{json.dumps(side)},"type":"user","message":{{"role":"user","content":'
            f'[{{"type":"tool_result","content":"{self.filler()}"}}]}},"toolUseResult":{{{helped}}},"uuid":"{self.new_id("u")}","timestamp":"{stamp(at)}",{common}}}\n'
        ]
        said = self.filler(self.pad // 8)
        created = f',"cache_creation":{{"ephemeral_5m_input_tokens":{written},"ephemeral_1h_input_tokens":{hour}}}'
        for part in (1, output // 2 or 1, output):
            at += timedelta(milliseconds=1200)
            usage = (
                f'{{"input_tokens":{given},"cache_creation_input_tokens":{written + hour},"cache_read_input_tokens":'
                f'{read}{created},"output_tokens":{part},"service_tier":"standard"'
                f"{speed}}}"
            )
            lines.append(
                f'{{"parentUuid":"p","isSidechain":{json.dumps(side)},"message":{{"model":"{model}","id":"{message}",'
                f'"type":"message","role":"assistant","content":[{{"type":"text","text":"{said}"}},'
                f'{{"type":"tool_use","name":"Write","input":{{"usage":{{"input_tokens":5}}}}}}],"usage":{usage}}},'
                f'"requestId":"{request}","type":"assistant","uuid":"{self.new_id("u")}","timestamp":"{stamp(at)}",'
                f"{common}}}\n"
            )
        out.writelines(lines)
        cost = price(model, (given, output, read, written, hour), fast=fast)
        counts = {"input": given, "output": output, "cache_read": read, "cache_write": written, "cache_write_1h": hour}
        self.truth.add("claude", model, at, cost=cost, **counts)
        return lines

    def codex(self, answers: int, *, folder: str = ".codex", extras: bool = True) -> Path:
        """A session; with its extras: a helper's file that begins with a replay, a branch, a torn last line."""
        session, start = self._begin("thr-"), self._now
        path = self._codex_path(folder, session, start)
        with self.file(path) as out:
            self._codex_head(out, session, start)
            told = [self.codex_answer(out) for _ in range(answers)]
            total = self._totals[out.name]
            if extras:
                out.write(json.dumps(told[-1])[:60])
        if not extras or len(told) < 2:
            return path
        helper, start = self.new_id("thr-"), self.tick()
        with self.file(self._codex_path(folder, helper, start)) as out:
            spawn = {"subagent": {"thread_spawn": {"parent_thread_id": session, "depth": 1}}}
            self._codex_head(out, helper, start, source=spawn)
            for number, event in enumerate(told):
                at = start + timedelta(microseconds=number * 100)
                out.write(json.dumps({**event, "timestamp": stamp(at)}, separators=(",", ":")) + "\n")
            self._totals[out.name] = total
            self.codex_answer(out)
        branch, start = self.new_id("thr-"), self.tick()
        with self.file(self._codex_path(folder, branch, start)) as out:
            self._codex_head(out, branch, start, forked_from_id=session)
            for event in told:
                out.write(json.dumps(event, separators=(",", ":")) + "\n")
            self._totals[out.name] = total
            self.codex_answer(out)
        return path

    def _codex_path(self, folder: str, session: str, at: datetime) -> Path:
        name = f"rollout-{at:%Y-%m-%dT%H-%M-%S}-{session}.jsonl"
        return self.home / folder / "sessions" / f"{at:%Y/%m/%d}" / name

    def _codex_head(self, out: IO[str], session: str, at: datetime, **more: Any) -> None:
        meta = {"id": session, "cwd": "/work/sample", "cli_version": "0.169.0", "source": "exec", **more}
        for kind, payload in (
            ("session_meta", meta),
            ("turn_context", {"model": "gpt-5.3-codex", "cwd": "/work/sample"}),
        ):
            line = {"timestamp": stamp(at), "type": kind, "payload": payload}
            out.write(json.dumps(line, separators=(",", ":")) + "\n")

    def codex_answer(self, out: IO[str]) -> dict[str, Any]:
        """An answer and what came before it; gives the line that told of it."""
        rng, at = self.rng, self.tick()
        given, output = rng.randint(1_000, 200_000), rng.randint(20, 4_000)
        cached, reasoning = rng.randint(0, given), rng.randint(0, output)
        last = [given, cached, output, reasoning]
        before = self._totals.get(out.name, [0, 0, 0, 0])
        total = self._totals[out.name] = [one + more for one, more in zip(before, last, strict=True)]
        item = f'{{"type":"function_call_output","output":"{self.filler(self.pad * 2)}"}}'
        out.write(f'{{"timestamp":"{stamp(at)}","type":"response_item","payload":{item}}}\n')
        info = {"total_token_usage": _codex_counts(total), "last_token_usage": _codex_counts(last)}
        if rng.random() < 0.2:
            info["last_token_usage"] = None  # type: ignore[assignment]  # as the CLI does
        for _ in range(rng.choice([1, 1, 2, 3])):
            event = {
                "timestamp": stamp(at),
                "type": "event_msg",
                "payload": {"type": "token_count", "info": info, "rate_limits": None},
            }
            out.write(json.dumps(event, separators=(",", ":")) + "\n")
            at += timedelta(milliseconds=900)
        cost = price("gpt-5.3-codex", (given - cached, output, cached, 0, 0))
        self.truth.add(
            "codex",
            "gpt-5.3-codex",
            self._now,
            cost=cost,
            input=given - cached,
            output=output,
            cache_read=cached,
            reasoning=reasoning,
        )
        return {**event, "timestamp": stamp(self._now)}

    def gemini(self, answers: int, *, whole: bool = False) -> Path:
        """A session as a log of changes, in which each message is written again; or, as older ones are, as a whole."""
        session, at = self._begin("gem-"), self._now
        folder = self.home / ".gemini" / "tmp" / "sample" / "chats"
        path = folder / f"session-{at:%Y-%m-%dT%H-%M}-{session[:12]}.json{'' if whole else 'l'}"
        head = {"sessionId": session, "projectHash": "0", "startTime": stamp(at), "lastUpdated": stamp(at)}
        messages = [self._gemini_answer() for _ in range(answers)]
        with self.file(path) as out:
            if whole:
                out.write(json.dumps({**head, "messages": messages}, indent=2))
                return path
            out.write(json.dumps(head) + "\n")
            for message in messages:
                out.write(json.dumps({**message, "tokens": {**message["tokens"], "output": 1}}) + "\n")
                out.write(json.dumps({"$set": {"lastUpdated": message["timestamp"]}}) + "\n")
                out.write(json.dumps(message) + "\n")
            out.write(json.dumps({**head, "kind": "main"}) + "\n")
            out.write(json.dumps({"$set": {"messages": messages}}) + "\n")
        return path

    def _gemini_answer(self) -> dict[str, Any]:
        rng, at = self.rng, self.tick()
        model = rng.choice(["gemini-2.5-pro", "gemini-2.5-flash"])
        given, output = rng.randint(1_000, 600_000), rng.randint(20, 4_000)
        cached, thoughts, tool = rng.randint(0, given // 2), rng.randint(0, 900), rng.randint(0, 90)
        tokens = {"input": given, "output": output, "cached": cached, "thoughts": thoughts, "tool": tool}
        tokens["total"] = given + output + thoughts + tool
        fresh = given - cached + tool
        cost = price(model, (fresh, output + thoughts, cached, 0, 0))
        counts = {"input": fresh, "output": output, "cache_read": cached, "reasoning": thoughts}
        self.truth.add("gemini", model, at, cost=cost, **counts)
        body = {"id": self.new_id("g"), "timestamp": stamp(at), "type": "gemini", "content": "x" * self.pad}
        return {**body, "model": model, "tokens": tokens}

    def opencode_files(self, answers: int) -> None:
        """A session of an older release: a file for each message."""
        session = self._begin("ses_")
        for _ in range(answers):
            name, value = self._opencode_answer(session)
            path = self.home / ".local/share/opencode/storage/message" / session / f"{name}.json"
            with self.file(path) as out:
                json.dump({"id": name, "sessionID": session, **value}, out, indent=2)

    def opencode(self, answers: int) -> Path:
        """A session in the database, which is left as a program leaves it that has it open still."""
        path = self.home / ".local/share/opencode/opencode.db"
        path.parent.mkdir(parents=True, exist_ok=True)
        session, at = self._begin("ses_"), int(self._now.timestamp() * 1000)
        with closing(sqlite3.connect(path, isolation_level=None)) as kept:
            kept.execute("PRAGMA journal_mode=WAL")
            kept.execute("CREATE TABLE IF NOT EXISTS session (id TEXT, parent_id TEXT, directory TEXT)")
            kept.execute(
                "CREATE TABLE IF NOT EXISTS message (id TEXT PRIMARY KEY, session_id TEXT, time_created INT,"
                " time_updated INT, data TEXT)"
            )
            kept.execute("INSERT INTO session VALUES (?, NULL, '/work/sample')", (session,))
            for _ in range(answers):
                name, value = self._opencode_answer(session)
                at = value["time"]["completed"]
                kept.execute("INSERT INTO message VALUES (?, ?, ?, ?, ?)", (name, session, at, at, json.dumps(value)))
        return path

    def _opencode_answer(self, session: str) -> tuple[str, dict[str, Any]]:
        rng, at = self.rng, self.tick()
        model = rng.choice(["claude-haiku-4-5", "house-model"])
        given, output, reasoning = rng.randint(1, 9_000), rng.randint(20, 4_000), rng.randint(0, 900)
        read, written = rng.randint(0, 90_000), rng.randint(0, 9_000)
        own = rng.choice([Decimal(0), Decimal(0), Decimal(rng.randint(1, 90_000)) / 100_000])
        cost = own or price(model, (given, output + reasoning, read, written, 0))
        counts = {"input": given, "output": output, "cache_read": read, "cache_write": written, "reasoning": reasoning}
        self.truth.add("opencode", model, at, cost=cost or None, **counts)
        millis = int(at.timestamp() * 1000)
        return self.new_id("msg_"), {
            "role": "assistant",
            "modelID": model,
            "providerID": "anthropic",
            "path": {"cwd": "/work/sample", "root": "/work/sample"},
            "cost": float(own),
            "time": {"created": millis, "completed": millis + 5000},
            "tokens": {
                "input": given,
                "output": output,
                "reasoning": reasoning,
                "cache": {"read": read, "write": written},
            },
        }


def _codex_counts(values: list[int]) -> dict[str, int]:
    names = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens")
    return {**dict(zip(names, values, strict=True)), "total_tokens": values[0] + values[2]}


def small(home: Path, seed: int = 7) -> Tree:
    """Some of everything."""
    tree = Tree(home, seed)
    for _ in range(4):
        tree.claude(12)
        tree.codex(9)
        tree.gemini(5)
        tree.gemini(3, whole=True)
        tree.opencode_files(3)
        tree.opencode(5)
    tree.claude(5, folder=".config/claude", extras=False)
    return tree


def large(home: Path, megabytes: int, seed: int = 7) -> Tree:
    """Two thirds of the bytes Claude's, a third Codex's, a little of the others; files of just under a megabyte."""
    tree = Tree(home, seed, pad=12_000)
    aim = megabytes * 1_000_000
    while tree.written < aim:
        tree.claude(150)
        tree.codex(75)
        if tree.rng.random() < 0.9:
            tree.gemini(4)
    return tree
