/** The tabs above the list of runs, each a set of states. */
import type { Counts, State } from "@/api/types";

export interface Tab {
  id: string;
  title: string;
  states: State[];
}

export const TABS: Tab[] = [
  { id: "all", title: "All", states: [] },
  { id: "active", title: "Active", states: ["queued", "preparing", "running", "stopping"] },
  { id: "waiting", title: "Waiting", states: ["waiting"] },
  { id: "failed", title: "Failed", states: ["failed", "timed_out"] },
  { id: "succeeded", title: "Succeeded", states: ["succeeded"] },
  { id: "cancelled", title: "Cancelled", states: ["cancelled", "superseded"] },
];

export function isOver(state: State): boolean {
  return ["succeeded", "failed", "cancelled", "timed_out", "superseded"].includes(state);
}

export function countOf(tab: Tab, counts: Counts): number {
  const states = tab.states.length ? tab.states : (Object.keys(counts) as State[]);
  return states.reduce((sum, state) => sum + (counts[state] ?? 0), 0);
}
