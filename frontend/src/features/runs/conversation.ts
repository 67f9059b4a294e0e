/** Turns a run's journal into what people read: what was said, thought, called and returned. */
import type { JournalEvent } from "@/api/types";
import { visible } from "./log/text";

export interface Turn {
  key: number;
  kind: "said" | "thinking" | "tool" | "note" | "bad";
  text: string;
  tool?: string;
  brief?: string;
  ok?: boolean;
  output?: string;
}

const BRIEF = ["command", "file_path", "path", "filePath", "pattern", "query", "url"];

function text(value: unknown): string {
  return typeof value === "string" ? visible(value) : "";
}

function describe(args: unknown): { brief: string; full: string } {
  const values = (args ?? {}) as Record<string, unknown>;
  const key = BRIEF.find((name) => typeof values[name] === "string");
  return { brief: key ? text(values[key]).slice(0, 200) : "", full: visible(JSON.stringify(values, null, 2)) };
}

export function toTurns(events: readonly JournalEvent[]): Turn[] {
  const turns: Turn[] = [];
  const calls = new Map<string, Turn>();
  let attempt = 0;
  let growing: Turn | undefined;
  for (const event of events) {
    if (event.attempt !== attempt) {
      if (attempt) turns.push({ key: -event.attempt, kind: "note", text: `Attempt ${event.attempt}` });
      attempt = event.attempt;
      growing = undefined;
    }
    if (event.type === "said") {
      const kind = event.thinking ? "thinking" : "said";
      const said = text(event.text);
      if (growing && event.delta && growing.kind === kind) growing.text += said;
      else {
        const turn: Turn = { key: event.seq, kind, text: said };
        turns.push(turn);
        growing = event.delta ? turn : undefined;
      }
      continue;
    }
    if (event.type === "tokens_used" || event.type === "limit_seen") continue;
    growing = undefined;
    if (event.type === "tool_called") {
      const { brief, full } = describe(event.arguments);
      const turn: Turn = { key: event.seq, kind: "tool", tool: text(event.tool), brief, text: full };
      calls.set(`${attempt} ${String(event.call_id)}`, turn);
      turns.push(turn);
    } else if (event.type === "tool_returned") {
      const call = calls.get(`${attempt} ${String(event.call_id)}`);
      const output = text(event.output);
      if (call) Object.assign(call, { ok: event.ok === true, output });
      else turns.push({ key: event.seq, kind: event.ok ? "note" : "bad", text: output });
    } else if (event.type === "needs_input")
      turns.push({ key: event.seq, kind: "bad", text: `It asked: ${text(event.question)}` });
    else if (event.type === "limit_reached")
      turns.push({ key: event.seq, kind: "bad", text: text(event.detail) || "A limit was reached." });
    else if (event.type === "stuck") turns.push({ key: event.seq, kind: "bad", text: text(event.detail) });
    else if (event.type === "notice")
      turns.push({ key: event.seq, kind: event.level === "error" ? "bad" : "note", text: text(event.text) });
  }
  return turns;
}
