import { expect, test, vi } from "vitest";
import { Lines, PAGE } from "@/features/runs/log/lines";

/** A log of `total` lines whose answers hold `most` lines each. */
function log(total: number, most: number) {
  const asked: [number, number][] = [];
  const lines = new Lines(
    (from, limit) => {
      asked.push([from, limit]);
      const count = Math.max(0, Math.min(most, limit, total - from + 1));
      const page = Array.from({ length: count }, (_, i) => ({ n: from + i, t: "", stream: "stdout", text: "" }));
      return Promise.resolve({ lines: page, total });
    },
    () => Promise.reject(new Error("not asked for")),
    () => undefined,
    (error) => expect.unreachable(String(error)),
  );
  return { lines, asked };
}

test("a page of long lines comes in several answers and is whole", async () => {
  const { lines, asked } = log(1200, 200);
  await lines.load(1);
  expect(asked).toEqual([
    [501, 500],
    [701, 300],
    [901, 100],
  ]);
  expect([lines.at(500), lines.at(1001)]).toEqual([undefined, undefined]);
  for (let n = PAGE + 1; n <= 2 * PAGE; n += 1) expect(lines.at(n)?.n).toBe(n);
});

test("the last page ends where the log does, and an empty log with its first answer", async () => {
  const last = log(1200, 500);
  await last.lines.load(2);
  expect(last.asked).toEqual([[1001, 500]]);
  expect(last.lines.at(1200)?.n).toBe(1200);
  const empty = log(0, 500);
  await empty.lines.load(0);
  expect(empty.asked).toHaveLength(1);
});

test("only what is missing is wanted again", async () => {
  const { lines, asked } = log(700, 500);
  await lines.load(0);
  lines.want(1, 400);
  expect(asked).toHaveLength(1);
  lines.want(450, 520);
  await vi.waitFor(() => expect(lines.at(520)?.n).toBe(520));
  expect(asked).toEqual([
    [1, 500],
    [501, 500],
  ]);
});
