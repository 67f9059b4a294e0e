/** How the sync of a project stands, in words. */
import type { Project, Worktree } from "@/api/types";

export type Tone = "good" | "dim" | "warn" | "bad" | "busy";
export interface Words {
  text: string;
  tone: Tone;
}

const LEFT: Record<string, string> = {
  dirty: "changes not committed",
  other_branch: "another branch checked out",
  diverged: "diverged",
  operation_in_progress: "work in progress there",
  no_work_tree: "no checkout",
  local_filters: "filters of its own",
};

const FAILED: Record<string, string> = {
  auth: "cannot sign in",
  host: "host not reached",
  host_key: "host key not known",
  missing: "not found",
  redirect: "address redirects",
  timeout: "took too long",
  repository_missing: "folder is gone",
  programs_in_config: "its configuration names programs",
  dubious_ownership: "belongs to another user",
  disk_full: "disk full",
};

export function commits(n: number): string {
  return `${n} ${n === 1 ? "commit" : "commits"}`;
}

export function syncWords(project: Pick<Project, "sync" | "syncing">): Words {
  const { sync, syncing } = project;
  if (syncing) return { text: "Syncing", tone: "busy" };
  if (!sync) return { text: "Not synced yet", tone: "dim" };
  switch (sync.state) {
    case "up_to_date":
      return { text: sync.ahead ? `Up to date, ${commits(sync.ahead)} not pushed` : "Up to date", tone: "good" };
    case "fast_forwarded":
      return { text: `${commits(sync.commits ?? 0)} new`, tone: "good" };
    case "no_remote":
      return { text: "No remote", tone: "dim" };
    case "failed":
      return { text: `Failed: ${FAILED[sync.cause ?? ""] ?? "see why"}`, tone: "bad" };
    default:
      return left(sync.cause ?? "", sync.behind ?? 0);
  }
}

function left(cause: string, behind: number): Words {
  if (cause === "no_upstream") return { text: "Branch not at origin", tone: "dim" };
  const why = LEFT[cause] ?? cause;
  return { text: behind ? `${behind} behind: ${why}` : `Fetched: ${why}`, tone: "warn" };
}

/** Time until then, roughly. */
export function until(ms: number): string {
  const s = Math.round(ms / 1000);
  if (s <= 20) return "any moment";
  if (s < 90) return "in a minute";
  if (s < 5400) return `in ${Math.round(s / 60)} min`;
  if (s < 129_600) return `in ${Math.round(s / 3600)} h`;
  return `in ${Math.round(s / 86_400)} d`;
}

/** When the next sync comes, and why it may be later than usual. */
export function nextWords(project: Pick<Project, "sync" | "syncing">, now: number): string {
  const { sync, syncing } = project;
  if (syncing || !sync?.next_at) return "";
  const when = until(Date.parse(sync.next_at) - now);
  if (sync.failures > 1) return `${sync.failures} failed, next try ${when}`;
  return sync.failures ? `next try ${when}` : `next ${when}`;
}

/** Whether all words of the filter stand in what the row shows. */
export function fits(project: Project, filter: string): boolean {
  const shown = [project.name, project.path, project.remote, project.default_branch, syncWords(project).text]
    .join(" ")
    .toLowerCase();
  return filter
    .toLowerCase()
    .split(/\s+/)
    .every((word) => shown.includes(word));
}

export function worktreeWords(one: Worktree): Words {
  if (one.state === "open") return { text: "In use", tone: "busy" };
  if (one.missing) return { text: "Folder is gone", tone: "dim" };
  if (one.unsaved) return { text: "Kept, holds unsaved work", tone: "warn" };
  return { text: one.unsaved === false ? "Kept, all of it saved" : "Kept", tone: "dim" };
}

/** An absolute path is a repository of the server's machine, everything else an address to clone from. */
export function readSource(text: string, name: string): { path: string } | { url: string; name?: string } {
  const source = text.trim();
  if (source.startsWith("/")) return { path: source };
  return name.trim() ? { url: source, name: name.trim() } : { url: source };
}
