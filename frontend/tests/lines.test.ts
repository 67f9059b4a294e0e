import { expect, test } from "vitest";
import { compareLines } from "@/ui/lines";

const told = (before: string, after: string) => compareLines(before, after).map((one) => one.kind + one.text);

test("lines that both have stay, the others are taken away and added", () => {
  expect(told("a\nb\nc", "a\nx\nc\nd")).toEqual([" a", "-b", "+x", " c", "+d"]);
  expect(told("a", "a")).toEqual([" a"]);
  expect(told("", "a")).toEqual(["-", "+a"]);
});
