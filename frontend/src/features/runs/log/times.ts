/** The time of a line, as one wants it: none, since the start, in the local zone, in UTC. */
export const TIMES = ["off", "elapsed", "local", "utc"] as const;
export type Time = (typeof TIMES)[number];

export function shownTime(iso: string, how: Time, startedAt: number): string {
  if (how === "off") return "";
  if (how === "utc") return iso.slice(11, 23);
  const at = new Date(iso);
  if (how === "elapsed") {
    const ms = Math.max(0, at.getTime() - startedAt);
    const whole = Math.floor(ms / 1000);
    const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
    return `${parts.map((part) => String(part).padStart(2, "0")).join(":")}.${String(ms % 1000).padStart(3, "0")}`;
  }
  const clock = [at.getHours(), at.getMinutes(), at.getSeconds()];
  const ms = String(at.getMilliseconds()).padStart(3, "0");
  return `${clock.map((part) => String(part).padStart(2, "0")).join(":")}.${ms}`;
}
