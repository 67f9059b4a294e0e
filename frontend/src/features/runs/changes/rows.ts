/** A diff as one flat list of rows of one height: what a scroller can show any part of without laying out the rest. */
import type { ChangedFile, HunkLine } from "@/api/types";
import { visible } from "@/ui/visible";

/** One side of a line. `other`: the line on the other side that it was changed from or to. */
export interface Side {
  n: number;
  line: HunkLine;
  other?: Side;
}

export type Row =
  | { kind: "file"; file: number }
  | { kind: "rest"; file: number }
  | { kind: "note"; file: number; text: string }
  | { kind: "hunk"; file: number; text: string }
  | { kind: "line"; file: number; old?: Side; now?: Side };

/** Longer lines are cut: nobody reads them, and laying them out would hold the page up. */
export const LONG = 2000;

export interface Flat {
  rows: Row[];
  /** Where each file's rows begin. */
  starts: number[];
  /** Columns of the longest line. */
  widest: number;
}

export function flatten(files: readonly ChangedFile[], folded: ReadonlySet<string>, split: boolean): Flat {
  const rows: Row[] = [];
  const starts: number[] = [];
  let widest = 0;
  const see = (side: Side | undefined): void => {
    if (side && side.line.text.length > widest) widest = side.line.text.length;
  };
  files.forEach((file, index) => {
    starts.push(rows.length);
    // A header is two rows high.
    rows.push({ kind: "file", file: index }, { kind: "rest", file: index });
    if (folded.has(file.path)) return;
    for (const text of notes(file)) rows.push({ kind: "note", file: index, text });
    for (const hunk of file.hunks) {
      const heading = visible(hunk.heading).slice(0, LONG);
      rows.push({ kind: "hunk", file: index, text: `@@ −${hunk.old_start} +${hunk.new_start} @@ ${heading}` });
      for (const row of pairs(hunk.lines, hunk.old_start, hunk.new_start, split)) {
        see(row.old);
        see(row.now);
        rows.push({ kind: "line", file: index, ...row });
      }
    }
  });
  return { rows, starts, widest: Math.min(widest, LONG) };
}

function notes(file: ChangedFile): string[] {
  const found: string[] = [];
  if (file.old_mode !== file.new_mode && file.status === "modified")
    found.push(`Mode ${file.old_mode} → ${file.new_mode}`);
  if (file.binary) found.push("A binary file; the patch has it.");
  else if (file.truncated)
    found.push(
      `${(file.additions + file.deletions).toLocaleString("en")} lines: too long to be shown; the patch has them.`,
    );
  else if (!file.hunks.length && !found.length)
    found.push(file.status === "renamed" ? "Only its name changed." : "It is empty.");
  return found;
}

interface Pair {
  old?: Side;
  now?: Side;
}

/** Neighbouring removed and added lines belong together, first to first. */
function pairs(lines: readonly HunkLine[], oldStart: number, newStart: number, split: boolean): Pair[] {
  const found: Pair[] = [];
  let old = oldStart;
  let now = newStart;
  let removed: Side[] = [];
  let added: Side[] = [];
  const flush = (): void => {
    for (let i = 0; i < Math.min(removed.length, added.length); i += 1) {
      removed[i]!.other = added[i]!;
      added[i]!.other = removed[i]!;
    }
    if (split)
      for (let i = 0; i < Math.max(removed.length, added.length); i += 1)
        found.push({ old: removed[i], now: added[i] });
    else found.push(...removed.map((side) => ({ old: side })), ...added.map((side) => ({ now: side })));
    removed = [];
    added = [];
  };
  for (const line of lines) {
    const side = (n: number): Side => ({ n, line });
    if (line.kind === "-") {
      if (added.length) flush();
      removed.push(side(old++));
    } else if (line.kind === "+") added.push(side(now++));
    else {
      flush();
      found.push({ old: side(old++), now: side(now++) });
    }
  }
  flush();
  return found;
}

/** A line's text as it is shown; made when it is on screen. */
export function textOf(side: Side): string {
  const { text } = side.line;
  if (text.length <= LONG) return visible(text);
  return `${visible(text.slice(0, LONG))} … ${(text.length - LONG).toLocaleString("en")} more`;
}
