/**
 * The lines of one log that this page holds: pages of PAGE lines, fetched when they are looked at and dropped when
 * too many are held. Lines are numbered from 1, as people and links do.
 */
import type { Line } from "@/api/types";

export const PAGE = 500;
const HELD = 100;

/** Neighbouring lines as the stream tells them, in columns. */
export interface Told {
  total: number;
  from: number;
  texts: string[];
  /** So many lines in a row, and the time they share. */
  times: [number, string][];
  stderr: number[];
  cut: [number, number][];
}

export function fromColumns(told: Told): Line[] {
  const stderr = new Set(told.stderr);
  const cut = new Map(told.cut);
  const lines: Line[] = [];
  for (const [count, t] of told.times)
    for (let i = 0; i < count; i += 1) {
      const n = told.from + lines.length;
      const line: Line = { n, t, stream: stderr.has(n) ? "stderr" : "stdout", text: told.texts[lines.length] ?? "" };
      const bytes = cut.get(n);
      lines.push(bytes === undefined ? line : { ...line, truncated: true, bytes });
    }
  return lines;
}

interface Page {
  lines: Line[];
  total: number;
}

export class Lines {
  private readonly pages = new Map<number, (Line | undefined)[]>();
  private readonly asked = new Set<number>();
  private askedSome = false;
  total = 0;

  constructor(
    private readonly fetchPage: (from: number, limit: number) => Promise<Page>,
    private readonly fetchSome: (numbers: number[]) => Promise<Page>,
    private readonly changed: () => void,
    private readonly failed: (error: unknown) => void,
  ) {}

  at(n: number): Line | undefined {
    return this.pages.get(Math.floor((n - 1) / PAGE))?.[(n - 1) % PAGE];
  }

  /** Lines as the stream brings them; one that grew is told again under its number. */
  put(lines: Line[], total: number): void {
    for (const line of lines) this.keep(line);
    this.total = Math.max(this.total, total);
    this.trim(Math.floor(Math.max(0, (lines.at(-1)?.n ?? 1) - 1) / PAGE));
    this.changed();
  }

  /** Has what lies between the two numbers fetched, where it is not here. */
  want(first: number, last: number): void {
    for (let page = Math.floor(Math.max(0, first - 1) / PAGE); page * PAGE < Math.min(last, this.total); page += 1) {
      const here = this.pages.get(page);
      const until = Math.min(PAGE, this.total - page * PAGE);
      let whole = here !== undefined;
      for (let i = 0; whole && i < until; i += 1) whole = here![i] !== undefined;
      if (!whole && !this.asked.has(page)) void this.load(page);
    }
  }

  /** Has these lines fetched, where they are not here: a page of matches needs one of a hundred. */
  wantSome(numbers: number[]): void {
    const missing = numbers.filter((n) => !this.at(n));
    if (!missing.length || this.askedSome) return;
    this.askedSome = true;
    void this.fetchSome(missing.slice(0, PAGE))
      .then((answer) => this.put(answer.lines, answer.total))
      .catch(this.failed)
      .finally(() => (this.askedSome = false));
  }

  async load(page: number): Promise<void> {
    this.asked.add(page);
    try {
      // An answer holds so many bytes: a page of long lines comes in several.
      for (let from = page * PAGE + 1, until = from + PAGE; from < until;) {
        const answer = await this.fetchPage(from, until - from);
        this.put(answer.lines, answer.total);
        const last = answer.lines.at(-1);
        if (!last || last.n >= answer.total) break;
        from = last.n + 1;
      }
      this.trim(page);
    } catch (error) {
      this.failed(error);
      await new Promise((resolve) => setTimeout(resolve, 2000));
    } finally {
      this.asked.delete(page);
    }
  }

  private keep(line: Line): void {
    const page = Math.floor((line.n - 1) / PAGE);
    const held = this.pages.get(page) ?? [];
    held[(line.n - 1) % PAGE] = line;
    this.pages.set(page, held);
  }

  /** Drops the pages that are farthest from the one that is looked at. */
  private trim(near: number): void {
    if (this.pages.size <= HELD) return;
    const far = [...this.pages.keys()].sort((a, b) => Math.abs(b - near) - Math.abs(a - near));
    for (const page of far.slice(0, this.pages.size - HELD)) this.pages.delete(page);
  }
}
