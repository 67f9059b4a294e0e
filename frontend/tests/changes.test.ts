import { describe, expect, it } from "vitest";
import type { ChangedFile, HunkLine } from "@/api/types";
import { colour } from "@/features/runs/changes/colours";
import { flatten, LONG } from "@/features/runs/changes/rows";
import { toTree } from "@/features/runs/changes/tree";
import { changedWords, withMarks } from "@/features/runs/changes/words";

function file(path: string, lines: HunkLine[] = [], more: Partial<ChangedFile> = {}): ChangedFile {
  const hunks = lines.length ? [{ old_start: 10, new_start: 20, heading: "", lines }] : [];
  return {
    path,
    old_path: null,
    old_mode: "100644",
    new_mode: "100644",
    status: "modified",
    binary: false,
    additions: 1,
    deletions: 1,
    truncated: false,
    hunks,
    ...more,
  };
}

const change: HunkLine[] = [
  { kind: " ", text: "before" },
  { kind: "-", text: "old one" },
  { kind: "-", text: "old two" },
  { kind: "+", text: "new one" },
  { kind: " ", text: "after" },
];

describe("the rows of a diff", () => {
  it("number both sides and stand for each line once", () => {
    const { rows, starts } = flatten([file("a", change), file("b")], new Set(), false);
    const lines = rows.flatMap((row) => (row.kind === "line" ? [[row.old?.n, row.now?.n]] : []));
    expect(lines).toEqual([
      [10, 20],
      [11, undefined],
      [12, undefined],
      [undefined, 21],
      [13, 22],
    ]);
    expect(starts).toEqual([0, 8]);
  });

  it("put changed lines side by side", () => {
    const { rows } = flatten([file("a", change)], new Set(), true);
    const lines = rows.flatMap((row) => (row.kind === "line" ? [[row.old?.line.text, row.now?.line.text]] : []));
    expect(lines).toEqual([
      ["before", "before"],
      ["old one", "new one"],
      ["old two", undefined],
      ["after", "after"],
    ]);
  });

  it("fold a file to its head, say what cannot be shown, and cut giants", () => {
    expect(flatten([file("a", change)], new Set(["a"]), false).rows).toHaveLength(2);
    const binary = flatten([file("b", [], { binary: true })], new Set(), false).rows.at(-1);
    expect(binary).toMatchObject({ kind: "note" });
    const giant = flatten([file("c", [{ kind: "+", text: "x".repeat(1_000_000) }])], new Set(), false);
    expect(giant.widest).toBeLessThanOrEqual(LONG);
  });

  it("take fifty thousand lines in no time", () => {
    const lines = Array.from({ length: 170 }, (_, n): HunkLine => ({ kind: "+", text: `line ${n}` }));
    const files = Array.from({ length: 300 }, (_, n) => file(`f${n}`, lines));
    expect(flatten(files, new Set(), false).rows).toHaveLength(300 * 173);
  });
});

describe("changed words", () => {
  it("are those that differ", () => {
    const own = "return value + 1;";
    expect(changedWords(own, "return other + 1;").map(([from, to]) => own.slice(from, to))).toEqual(["value"]);
    expect(changedWords("same", "same")).toEqual([]);
  });

  it("are not marked where everything differs", () => {
    expect(changedWords("alpha beta gamma", "one, two, three")).toEqual([]);
  });

  it("are marked across the tags and entities of colours", () => {
    expect(withMarks('<span class="x">a&lt;b</span>c', [[1, 4]])).toBe(
      '<span class="x">a<mark>&lt;b</mark></span><mark>c</mark>',
    );
    expect(withMarks("plain", [])).toBe("plain");
  });
});

describe("colours", () => {
  it("come when the language has come, and never as markup", async () => {
    const text = 'x = "<img src=x onerror=1>"';
    expect(colour(text, "python", () => {})).not.toContain("<img");
    await new Promise<void>((loaded) => {
      if (colour(text, "json", loaded) === "") loaded();
    });
    const html = colour('{"a": "<img src=x>"}', "json", () => {});
    expect(html).toContain("hljs-");
    expect(html).not.toContain("<img");
  });
});

describe("the tree", () => {
  const files = ["src/api/a.ts", "src/api/b.ts", "docs/x/y/z.md", "README.md"].map((path) => file(path));

  it("joins folders that hold one folder", () => {
    expect(toTree(files, new Set(), "").map((node) => [node.depth, node.name])).toEqual([
      [0, "src/api"],
      [1, "a.ts"],
      [1, "b.ts"],
      [0, "docs/x/y"],
      [1, "z.md"],
      [0, "README.md"],
    ]);
  });

  it("closes folders and filters files", () => {
    expect(toTree(files, new Set(["src/api/"]), "").map((node) => node.name)).not.toContain("a.ts");
    expect(toTree(files, new Set(), "READ").map((node) => node.name)).toEqual(["README.md"]);
  });
});
