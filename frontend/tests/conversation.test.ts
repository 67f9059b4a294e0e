import { describe, expect, it } from "vitest";
import type { JournalEvent } from "@/api/types";
import { fits, Talk, type Tool } from "@/talk/conversation";
import { briefOf, changesOf, commandOf, pathOf } from "@/talk/calls";

function event(seq: number, type: string, rest: Record<string, unknown> = {}): JournalEvent {
  return { seq, type, attempt: 1, at: "2026-01-01T00:00:00Z", ...rest };
}

function tool(kind: string, given: Record<string, unknown>): Tool {
  return { name: "T", kind, arguments: given, output: "" };
}

describe("a conversation", () => {
  it("joins streamed words and puts results to their calls", () => {
    const talk = new Talk();
    talk.add([event(1, "said", { text: "Hel", delta: true }), event(2, "said", { text: "lo", delta: true })]);
    talk.add([event(3, "tool_called", { call_id: "c", tool: "Write", kind: "edit", arguments: { path: "a.txt" } })]);
    expect(talk.turns.at(-1)?.tool?.ok).toBeUndefined();
    talk.add([event(4, "tool_returned", { call_id: "c", ok: true, output: "done" })]);
    expect(talk.turns.map((turn) => [turn.kind, turn.text, turn.tool?.output])).toEqual([
      ["said", "Hello", undefined],
      ["tool", "", "done"],
    ]);
  });

  it("joins a piece to a first one that was none itself, and not to another kind", () => {
    const talk = new Talk();
    talk.add([
      event(1, "said", { text: "Hel" }),
      event(2, "said", { text: "lo", delta: true }),
      event(3, "said", { text: "hm", delta: true, thinking: true }),
      event(4, "said", { text: "Next" }),
    ]);
    expect(talk.turns.map((turn) => turn.text)).toEqual(["Hello", "hm", "Next"]);
  });

  it("takes each event once", () => {
    const talk = new Talk();
    expect(talk.add([event(1, "said", { text: "a" })])).toBe(true);
    expect(talk.add([event(1, "said", { text: "a" })])).toBe(false);
    expect(talk.turns).toHaveLength(1);
  });

  it("counts tokens to the turn before them", () => {
    const talk = new Talk();
    talk.add([
      event(1, "said", { text: "a" }),
      event(2, "tokens_used", { input: 10, cache_read: 5, cache_write: 1, output: 3, cost_usd: "0.01" }),
      event(3, "tokens_used", { input: 1, output: 1 }),
    ]);
    expect(talk.turns[0]?.used).toEqual({ sent: 17, received: 4, cost: 0.01 });
  });

  it("parts attempts, whose calls may have the same names", () => {
    const talk = new Talk();
    talk.add([
      event(1, "tool_called", { call_id: "c", tool: "A", arguments: {} }),
      event(2, "tool_called", { call_id: "c", tool: "B", arguments: {}, attempt: 2 }),
      event(3, "tool_returned", { call_id: "c", ok: false, output: "no", attempt: 2 }),
    ]);
    expect(talk.turns.map((turn) => turn.kind)).toEqual(["tool", "attempt", "tool"]);
    expect(talk.turns.map((turn) => turn.tool?.ok)).toEqual([undefined, undefined, false]);
  });

  it("tells a summary only when it was not said", () => {
    const talk = new Talk();
    talk.add([event(1, "said", { text: "Done." }), event(2, "concluded", { ok: true, summary: "Done." })]);
    expect(talk.turns).toHaveLength(1);
    talk.add([event(3, "concluded", { ok: false, summary: "It broke." })]);
    expect(talk.turns.at(-1)?.kind).toBe("bad");
  });

  it("is filtered by kind and text", () => {
    const talk = new Talk();
    talk.add([
      event(1, "said", { text: "Look" }),
      event(2, "tool_called", { call_id: "c", tool: "Bash", arguments: { command: "make test" } }),
      event(3, "tool_returned", { call_id: "c", ok: false, output: "boom" }),
    ]);
    const keys = (only: Parameters<typeof fits>[1], find = "") =>
      talk.turns.filter((turn) => fits(turn, only, find)).map((turn) => turn.key);
    expect([keys("all"), keys("messages"), keys("tools"), keys("errors")]).toEqual([[1, 2], [1], [2], [2]]);
    expect([keys("all", "BOOM"), keys("all", "make t")]).toEqual([[2], [2]]);
  });
});

describe("what a tool call did", () => {
  it("is said in the words of each CLI's arguments", () => {
    expect(briefOf(tool("shell", { command: "ls -l\nmore" }))).toBe("ls -l");
    expect(commandOf(tool("shell", { command: ["bash", "-lc", "ls"] }))).toBe("bash -lc ls");
    expect(pathOf(tool("edit", { changes: [{ path: "a.py", kind: "update" }, { path: "b.py" }] }))).toBe("a.py, b.py");
    expect(briefOf(tool("read", { absolute_path: "/x", offset: 5, limit: 10 }))).toBe("/x from line 5, 10 lines");
    expect(briefOf(tool("search", { pattern: "TODO", path: "src" }))).toBe("TODO in src");
    expect(briefOf(tool("web", { url: "https://a.example" }))).toBe("https://a.example");
  });

  it("shows an edit as lines taken away and put in", () => {
    const signs = (given: Record<string, unknown>) =>
      changesOf(tool("edit", given)).map((change) => `${change.kind}${change.text}`);
    expect(signs({ file_path: "a", old_string: "x\ny", new_string: "z" })).toEqual(["-x", "-y", "+z"]);
    expect(signs({ filePath: "a", oldString: "x", newString: "" })).toEqual(["-x"]);
    expect(signs({ edits: [{ old_string: "a", new_string: "b" }, { new_string: "c" }] })).toEqual(["-a", "+b", "+c"]);
    expect(signs({ path: "a", content: "one\ntwo\n" })).toEqual(["+one", "+two"]);
    expect(signs({ patchText: "*** Update\n-a\n+b" })).toEqual([" ** Update", "-a", "+b"]);
    expect(signs({ path: 7, content: { not: "text" } })).toEqual([]);
  });
});
