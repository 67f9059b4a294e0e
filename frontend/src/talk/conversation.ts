/** Turns a run's journal into what people read: what was said, thought, called and returned. */
import type { JournalEvent } from "@/api/types";
import { visible } from "@/ui/visible";

export type Kind = "asked" | "said" | "thinking" | "tool" | "note" | "bad" | "attempt";

export interface Turn {
  /** The number of its first event; for links. */
  key: number;
  at: string;
  kind: Kind;
  text: string;
  tool?: Tool;
  /** Tokens that were counted after it and before the next one. */
  used?: { sent: number; received: number; cost: number };
  /** A helper of the session said it. */
  side?: boolean;
  /** Grows with each change: what was made of it may be kept until then. */
  rev: number;
}

export interface Tool {
  name: string;
  kind: string;
  arguments: Record<string, unknown>;
  /** Undefined while it runs. */
  ok?: boolean;
  output: string;
}

function text(value: unknown): string {
  return typeof value === "string" ? visible(value) : "";
}

function count(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) ? value : 0;
}

export class Talk {
  readonly turns: Turn[] = [];
  private readonly calls = new Map<string, Turn>();
  private attempt = 0;
  private growing: Turn | undefined;
  seq = 0;

  /** Takes the events that are new; gives whether there were any. */
  add(events: readonly JournalEvent[]): boolean {
    const before = this.seq;
    for (const event of events) {
      if (event.seq <= this.seq) continue;
      this.seq = event.seq;
      this.take(event);
    }
    return this.seq > before;
  }

  private take(event: JournalEvent): void {
    if (event.attempt !== this.attempt) {
      if (this.attempt) this.push(event, "attempt", `Attempt ${event.attempt}`, -event.attempt);
      this.attempt = event.attempt;
    }
    if (event.type === "said") return this.said(event);
    if (event.type === "asked") return this.asked(event);
    if (event.type === "tokens_used") return this.used(event);
    if (event.type === "limit_seen" || event.type === "session_started") return;
    this.growing = undefined;
    if (event.type === "tool_called") this.called(event);
    else if (event.type === "tool_returned") this.returned(event);
    else if (event.type === "needs_input") this.push(event, "bad", `It asked: ${text(event.question)}`);
    else if (event.type === "limit_reached") this.push(event, "bad", text(event.detail) || "A limit was reached.");
    else if (event.type === "stuck") this.push(event, "bad", text(event.detail));
    else if (event.type === "notice") this.push(event, event.level === "error" ? "bad" : "note", text(event.text));
    else if (event.type === "concluded") this.concluded(event);
  }

  private push(event: JournalEvent, kind: Kind, said: string, key = event.seq): Turn {
    const turn: Turn = { key, at: event.at, kind, text: said, side: event.side === true, rev: 0 };
    this.turns.push(turn);
    return turn;
  }

  private asked(event: JournalEvent): void {
    this.growing = undefined;
    this.push(event, "asked", text(event.text));
  }

  private said(event: JournalEvent): void {
    const kind = event.thinking ? "thinking" : "said";
    if (this.growing && event.delta && this.growing.kind === kind) {
      this.growing.text += text(event.text);
      this.growing.rev += 1;
      return;
    }
    // A later piece says that it goes on with this one, whether or not this one was a piece itself.
    this.growing = this.push(event, kind, text(event.text));
  }

  private called(event: JournalEvent): void {
    const turn = this.push(event, "tool", "");
    turn.tool = {
      name: text(event.tool),
      kind: text(event.kind) || "other",
      arguments: (event.arguments ?? {}) as Record<string, unknown>,
      output: "",
    };
    this.calls.set(`${this.attempt} ${String(event.call_id)}`, turn);
  }

  private returned(event: JournalEvent): void {
    const call = this.calls.get(`${this.attempt} ${String(event.call_id)}`);
    if (!call?.tool) {
      this.push(event, event.ok ? "note" : "bad", text(event.output));
      return;
    }
    call.tool.ok = event.ok === true;
    // Colours of a terminal are kept: they are shown, or dropped, where it is drawn.
    call.tool.output = typeof event.output === "string" ? event.output : "";
    call.rev += 1;
  }

  private used(event: JournalEvent): void {
    const last = this.turns.findLast((turn) => turn.kind !== "attempt");
    if (!last) return;
    const sent = count(event.input) + count(event.cache_read) + count(event.cache_write);
    const used = (last.used ??= { sent: 0, received: 0, cost: 0 });
    used.sent += sent;
    used.received += count(event.output);
    used.cost += Number(event.cost_usd ?? 0) || 0;
    last.rev += 1;
  }

  private concluded(event: JournalEvent): void {
    const summary = text(event.summary).trim();
    const last = this.turns.findLast((turn) => turn.kind === "said")?.text.trim();
    if (summary && summary !== last) this.push(event, event.ok ? "said" : "bad", summary);
  }
}

export const ONLY = ["all", "messages", "tools", "errors"] as const;
export type Only = (typeof ONLY)[number];

export function fits(turn: Turn, only: Only, find: string): boolean {
  const failed = turn.kind === "bad" || turn.tool?.ok === false;
  if (only === "messages" && turn.kind !== "said" && turn.kind !== "asked" && turn.kind !== "attempt") return false;
  if (only === "tools" && turn.kind !== "tool" && turn.kind !== "attempt") return false;
  if (only === "errors" && !failed) return false;
  return !find || textOf(turn).toLowerCase().includes(find.toLowerCase());
}

function textOf(turn: Turn): string {
  const { tool } = turn;
  return tool ? `${tool.name} ${JSON.stringify(tool.arguments)} ${tool.output}` : turn.text;
}
