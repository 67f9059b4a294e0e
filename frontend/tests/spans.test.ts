import { expect, test } from "vitest";
import { daysBetween, dollars, sinceOf } from "@/features/insights/spans";

test("a span ends today and counts it", () => {
  expect(sinceOf("7d", new Date(2026, 2, 3))).toBe("2026-02-25");
  expect(sinceOf("all", new Date())).toBeUndefined();
});

test("days go on over the end of a month and a change of clocks", () => {
  expect(daysBetween("2026-02-27", "2026-03-02")).toEqual(["2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02"]);
  expect(daysBetween("2026-10-24", "2026-10-26")).toHaveLength(3);
});

test("what has no price is not zero", () => {
  expect([dollars(null), dollars("0"), dollars("0.004"), dollars("1234.5")]).toEqual([
    "unpriced",
    "$0",
    "<$0.01",
    "$1,234.50",
  ]);
});
