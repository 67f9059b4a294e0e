/** What a run went through, with how long each part took. */
import type { ExecutionDetail } from "@/api/types";
import { isOver } from "./states";

export interface Step {
  id: string;
  title: string;
  /** A state as StateMark knows it. */
  state: string;
  ms: number | null;
  note: string;
}

function span(from: string | null | undefined, to: string | null | undefined, now: number): number | null {
  return from ? (to ? Date.parse(to) : now) - Date.parse(from) : null;
}

export function stepsOf(run: ExecutionDetail, now: number): Step[] {
  const over = isOver(run.state);
  const first = run.attempts[0];
  const last = run.attempts.at(-1);
  const steps: Step[] = [];
  const waitedUntil = run.started_at ?? first?.started_at ?? run.ended_at;
  const waits = run.state === "queued" || run.state === "waiting";
  steps.push({
    id: "queue",
    title: "Queue",
    state: waitedUntil && !waits ? (first || !over ? "succeeded" : run.state) : run.state,
    ms: span(run.created_at, waits ? null : waitedUntil, now),
    note: waits ? (run.cause?.title ?? "") : "",
  });
  if (run.started_at && !(waits && !first))
    steps.push({
      id: "workspace",
      title: "Workspace",
      state: first ? "succeeded" : over ? run.state : "running",
      ms: span(run.started_at, first?.started_at ?? run.ended_at, now),
      note: run.branch ?? "",
    });
  for (const attempt of run.attempts)
    steps.push({
      id: attempt.id,
      title: run.attempts.length > 1 ? `Attempt ${attempt.number}` : "Work",
      state:
        attempt.verdict ?? (attempt.state === "ended" ? "running" : attempt.state === "lost" ? "failed" : "running"),
      ms: span(attempt.started_at, attempt.ended_at, now),
      note: [attempt.account, attempt.resumed ? "resumed" : ""].filter(Boolean).join(" · "),
    });
  if (last?.ended_at && !waits)
    steps.push({
      id: "result",
      title: "Changes",
      state: over ? (run.changes ? "succeeded" : "cancelled") : "running",
      ms: span(last.ended_at, run.ended_at, now),
      note: run.changes ? `${run.changes.files} ${run.changes.files === 1 ? "file" : "files"}` : "",
    });
  return steps;
}
