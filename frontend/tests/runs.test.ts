import { describe, expect, it } from "vitest";
import type { Line } from "@/api/types";
import { fromColumns, Lines, PAGE } from "@/features/runs/log/lines";
import { Layout } from "@/features/runs/log/layout";
import { completions, parse, withValue } from "@/features/runs/filter";
import { columns, toHtml } from "@/ui/ansi";
import { visible } from "@/ui/visible";

const line = (n: number, text = `line ${n}`): Line =>
  ({ n, t: "2026-01-01T00:00:00Z", stream: "stdout", text }) as Line;

describe("a line's text", () => {
  it("keeps colours and runs no markup", () => {
    const html = toHtml('\u001B[31mred\u001B[0m <img src=x onerror="alert(1)">');
    expect(html).toContain("ansi-red-fg");
    expect(html).toContain("&lt;img");
    expect(html).not.toContain("<img");
  });

  it("needs no inline style for any colour", () => {
    expect(toHtml("\u001B[38;2;255;0;0mred\u001B[0m \u001B[48;5;196mback\u001B[0m")).not.toContain("style=");
    expect(toHtml('a style="color:red" b')).toContain("style=&quot;color:red&quot;");
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

  it("reads columns as the server tells them", () => {
    const told = {
      total: 5,
      from: 3,
      texts: ["a", "b", "c"],
      times: [
        [2, "T1"],
        [1, "T2"],
      ] as [number, string][],
      stderr: [4],
      cut: [[5, 99]] as [number, number][],
    };
    expect(fromColumns(told)).toEqual([
      { n: 3, t: "T1", stream: "stdout", text: "a" },
      { n: 4, t: "T1", stream: "stderr", text: "b" },
      { n: 5, t: "T2", stream: "stdout", text: "c", truncated: true, bytes: 99 },
    ]);
  });

  it("holds a bounded number of lines", () => {
    const { lines } = collection(0);
    for (let page = 0; page < 300; page += 1) lines.put([line(page * PAGE + 1)], page * PAGE + 1);
    expect(lines.at(1)).toBeUndefined();
    expect(lines.at(299 * PAGE + 1)).toBeDefined();
  });
});

describe("where rows stand", () => {
  it("finds a row of wrapped lines again", () => {
    const layout = new Layout();
    layout.resize(10_000);
    for (let i = 0; i < 10_000; i += 7) layout.setRows(i, 1 + (i % 5));
    for (const i of [0, 1, 255, 256, 4999, 9999]) {
      expect(layout.at(layout.rowOf(i))).toBe(i);
      expect(layout.rowOf(i + 1) - layout.rowOf(i)).toBe(i % 7 === 0 ? 1 + (i % 5) : 1);
    }
    expect(layout.resize(10_000)).toBe(layout.rowOf(10_000) * 20);
  });

  it("reaches every line of a log taller than a browser allows", () => {
    const layout = new Layout();
    const height = layout.resize(10_000_000);
    expect(height).toBeLessThan(33_554_428);
    expect(layout.at(Math.ceil((layout.toRowsPx(height - 600, 600) + 600) / 20))).toBe(9_999_999);
    expect(layout.toRowsPx(layout.toScrollPx(123_456_780, 600), 600)).toBeCloseTo(123_456_780, 3);
  });

  it("counts the columns of wide characters, tabs and colours", () => {
    expect(columns("\u001B[31mab\u001B[0m")).toBe(2);
    expect(columns("漢字")).toBe(4);
    expect(columns("\ta")).toBe(9);
  });
});

describe("the filter field", () => {
  it("reads filters and words", () => {
    expect(parse('is:failed backend:rehearsal project:"my project" two words')).toEqual({
      values: { is: "failed", backend: "rehearsal", project: "my project" },
      text: "two words",
      wrong: "",
    });
  });

  it("searches what is no filter as text, and says so", () => {
    expect(parse("colour:red").text).toBe("colour:red");
    expect(parse("colour:red").wrong).not.toBe("");
    expect(parse("https://a.example").wrong).toBe("");
    expect(parse("is:purple").wrong).toContain("purple");
  });

  it("sets and takes away one filter", () => {
    expect(withValue("is:failed fix it", "is", "active")).toBe("is:active fix it");
    expect(withValue("fix is:failed it", "is", undefined)).toBe("fix it");
    expect(withValue("", "project", "my project")).toBe('project:"my project"');
  });

  it("offers what the last word could become", () => {
    expect(completions("ba", {})).toEqual(["backend:"]);
    expect(completions("b", {})).toEqual(["bot:", "backend:"]);
    expect(completions("x is:f", { is: ["failed", "active"] })).toEqual(["is:failed"]);
    expect(completions("is:failed", { is: ["failed"] })).toEqual([]);
  });
});
