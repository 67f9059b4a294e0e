/** What notices are about, and how runs end, in words of people. */
import type { NoticeState } from "@/api/types";

export const TOPICS: Record<string, string> = {
  "run.ended": "A run ended",
  "bot.paused": "A bot was paused",
  "project.sync_failed": "A project could not be synced",
  "budget.crossed": "A budget was crossed",
  "limit.crossed": "An account's limit comes near",
};

export const ENDS: Record<string, string> = {
  succeeded: "Succeeded",
  failed: "Failed",
  timed_out: "Timed out",
  cancelled: "Cancelled",
};

export const STATES: Record<NoticeState, { text: string; tone: string }> = {
  waiting: { text: "Waiting", tone: "text-busy" },
  sent: { text: "Sent", tone: "text-good" },
  failed: { text: "Failed", tone: "text-bad" },
};

/** What a target hears of, in one line. */
export function heard(target: { topics: string[]; states: string[]; bots: string[] }): string {
  const parts = [
    target.topics.map((one) => TOPICS[one] ?? one).join(", ") || "Everything",
    target.states.length ? `runs: ${target.states.map((one) => (ENDS[one] ?? one).toLowerCase()).join(", ")}` : "",
    target.bots.length ? `bots: ${target.bots.join(", ")}` : "",
  ];
  return parts.filter(Boolean).join(" · ");
}
