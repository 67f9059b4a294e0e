import { describe, expect, it } from "vitest";
import type { JournalEvent, Line } from "@/api/types";
import { toTurns } from "@/features/runs/conversation";
import { Lines, PAGE } from "@/features/runs/log/lines";
import { toHtml, visible } from "@/features/runs/log/text";

const line = (n: number, text = `line ${n}`): Line =>
  ({ n, t: "2026-01-01T00:00:00Z", stream: "stdout", text }) as Line;

describe("a line's text", () => {
  it("keeps colours and runs no markup", () => {
    const html = toHtml('\u001B[31mred\u001B[0m <img src=x onerror="alert(1)">');
    expect(html).toContain("ansi-red-fg");
    expect(html).toContain("&lt;img");
    expect(html).not.toContain("<img");
  });

  it("makes no link of a terminal's link sequence", () => {
    const html = toHtml("\u001B]8;;https://evil.example\u0007click\u001B]8;;\u0007");
    expect(html).not.toContain("<a");
    expect(html).toContain("click");
  });

  it("shows what would reorder or hide", () => {
    expect(visible("a\u202Eb\u200Bc\u0000")).toBe("a⟨U+202E⟩b⟨U+200B⟩c␀");
  });

  it("folds a giant line", () => {
    expect(toHtml("x".repeat(1_000_000)).length).toBeLessThan(5000);
  });
});

describe("the lines of a log", () => {
  const collection = (stored: number) => {
    const asked: number[] = [];
    const lines = new Lines(
      (from, limit) => {
        asked.push(from);
        const got = Array.from({ length: Math.min(limit, stored - from + 1) }, (_, i) => line(from + i));
        return Promise.resolve({ lines: got, total: stored });
      },
      (numbers) => {
        asked.push(...numbers);
        return Promise.resolve({ lines: numbers.map((n) => line(n)), total: stored });
      },
      () => {},
      (error) => {
        throw error;
      },
    );
    return { lines, asked };
  };

  it("fetches what is looked at, once", async () => {
    const { lines, asked } = collection(10_000);
    await lines.load(0);
    lines.want(4990, 5020);
    lines.want(4990, 5020);
    await Promise.resolve();
    await Promise.resolve();
    expect(asked).toEqual([1, 4501, 5001]);
    expect(lines.at(5001)?.text).toBe("line 5001");
  });

  it("takes a grown last line under its number", () => {
    const { lines } = collection(0);
    lines.put([line(1, "ab")], 1);
    lines.put([line(1, "abc")], 1);
    expect([lines.total, lines.at(1)?.text]).toEqual([1, "abc"]);
  });

  it("holds a bounded number of lines", () => {
    const { lines } = collection(0);
    for (let page = 0; page < 300; page += 1) lines.put([line(page * PAGE + 1)], page * PAGE + 1);
    expect(lines.at(1)).toBeUndefined();
    expect(lines.at(299 * PAGE + 1)).toBeDefined();
  });
});

describe("a conversation", () => {
  const event = (seq: number, type: string, rest: Record<string, unknown>): JournalEvent => ({
    seq,
    type,
    attempt: 1,
    at: "2026-01-01T00:00:00Z",
    ...rest,
  });

  it("joins streamed words and puts results to their calls", () => {
    const turns = toTurns([
      event(1, "said", { text: "Hel", delta: true }),
      event(2, "said", { text: "lo", delta: true }),
      event(3, "tool_called", { call_id: "c", tool: "Write", arguments: { file_path: "a.txt" } }),
      event(4, "tool_returned", { call_id: "c", ok: true, output: "done" }),
    ]);
    expect(turns.map((turn) => [turn.kind, turn.text.slice(0, 5), turn.output])).toEqual([
      ["said", "Hello", undefined],
      ["tool", '{\n  "', "done"],
    ]);
    expect(turns[1]!.brief).toBe("a.txt");
  });
});
