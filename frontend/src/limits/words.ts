/** How accounts and their windows stand, in words and colours. */
import type { Account, LimitWindow } from "@/api/types";
import { duration } from "@/ui/format";

export const TONES: Record<string, string> = {
  ready: "text-good",
  limited: "text-warn",
  login_needed: "text-bad",
  expired: "text-bad",
  plan_unsupported: "text-bad",
  disabled: "text-dim",
};

/** The colour of a meter, by how much is used. */
export function tone(used: number | null): string {
  if (used === null) return "bg-strong";
  if (used >= 90) return "bg-bad";
  return used >= 75 ? "bg-warn" : "bg-accent";
}

/** What a window says beside its meter: used, when it is full at this pace, when it is renewed. */
export function windowText(window: LimitWindow, now: number): string {
  const parts = [window.used_percent === null ? "not known" : `${Math.round(window.used_percent)} % used`];
  if (window.full_at) parts.push(`full in ${duration(Date.parse(window.full_at) - now)} at this pace`);
  if (window.resets_at) parts.push(`renewed in ${duration(Math.max(0, Date.parse(window.resets_at) - now))}`);
  return parts.join(", ");
}

/** An account's name for people: the person's own login has none of its own. */
export function nameOf(account: Pick<Account, "name" | "is_default">): string {
  return account.is_default ? "your own login" : account.name;
}
