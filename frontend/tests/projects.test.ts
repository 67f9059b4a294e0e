import { describe, expect, it } from "vitest";
import type { Project, Worktree } from "@/api/types";
import { fits, nextWords, readSource, syncWords, until, worktreeWords } from "@/features/projects/words";

type Sync = NonNullable<Project["sync"]>;

const project = (sync: Partial<Sync> | null, more: Partial<Project> = {}): Project =>
  ({
    name: "tea",
    path: "/srv/tea",
    remote: "host.example/pat/tea",
    default_branch: "trunk",
    syncing: false,
    sync: sync && { failures: 0, at: "2026-01-01T00:00:00Z", next_at: "2026-01-01T00:30:00Z", ...sync },
    ...more,
  }) as Project;

describe("how a sync stands", () => {
  it.each([
    [null, "Not synced yet", "dim"],
    [{ state: "up_to_date", ahead: 0 }, "Up to date", "good"],
    [{ state: "up_to_date", ahead: 1 }, "Up to date, 1 commit not pushed", "good"],
    [{ state: "fast_forwarded", commits: 3 }, "3 commits new", "good"],
    [{ state: "fetched_only", cause: "dirty", behind: 2 }, "2 behind: changes not committed", "warn"],
    [{ state: "fetched_only", cause: "no_upstream" }, "Branch not at origin", "dim"],
    [{ state: "no_remote" }, "No remote", "dim"],
    [{ state: "failed", cause: "auth" }, "Failed: cannot sign in", "bad"],
    [{ state: "failed", cause: "something new" }, "Failed: see why", "bad"],
  ] as [Partial<Sync> | null, string, string][])("%j is %s", (sync, text, tone) => {
    expect(syncWords(project(sync))).toEqual({ text, tone });
  });

  it("says that it goes on", () => {
    expect(syncWords(project(null, { syncing: true })).text).toBe("Syncing");
  });

  it("says when the next comes, and that failures put it off", () => {
    const now = Date.parse("2026-01-01T00:00:00Z");
    expect(nextWords(project({ state: "up_to_date" }), now)).toBe("next in 30 min");
    expect(nextWords(project({ state: "failed", failures: 1 }), now)).toBe("next try in 30 min");
    expect(nextWords(project({ state: "failed", failures: 3 }), now)).toBe("3 failed, next try in 30 min");
    expect(nextWords(project({ state: "up_to_date", next_at: null }), now)).toBe("");
  });

  it("tells time to come roughly", () => {
    expect([-5000, 60_000, 600_000, 7_200_000, 200_000_000].map(until)).toEqual([
      "any moment",
      "in a minute",
      "in 10 min",
      "in 2 h",
      "in 2 d",
    ]);
  });
});

describe("the list", () => {
  it("is filtered by all that a row shows", () => {
    const tea = project({ state: "failed", cause: "host" });
    expect(["", "TEA", "host.example", "trunk failed", "/srv"].every((filter) => fits(tea, filter))).toBe(true);
    expect(fits(tea, "tea coffee")).toBe(false);
  });

  it("tells a path from an address", () => {
    expect(readSource(" /srv/tea ", "x")).toEqual({ path: "/srv/tea" });
    expect(readSource("git@host:pat/tea", "")).toEqual({ url: "git@host:pat/tea" });
    expect(readSource("https://host/pat/tea", " Tea ")).toEqual({ url: "https://host/pat/tea", name: "Tea" });
  });
});

describe("a worktree", () => {
  const worktree = (more: Partial<Worktree>): Worktree => ({ state: "kept", missing: false, ...more }) as Worktree;

  it("says whether something in it is not saved", () => {
    expect(worktreeWords(worktree({ state: "open" })).text).toBe("In use");
    expect(worktreeWords(worktree({ unsaved: true })).text).toBe("Kept, holds unsaved work");
    expect(worktreeWords(worktree({ unsaved: false })).text).toBe("Kept, all of it saved");
    expect(worktreeWords(worktree({ unsaved: null })).text).toBe("Kept");
    expect(worktreeWords(worktree({ missing: true, unsaved: false })).text).toBe("Folder is gone");
  });
});
