/** Spans of days, in the browser's own calendar. */

export const SPANS = [
  { id: "7d", title: "7 days", days: 7 },
  { id: "30d", title: "30 days", days: 30 },
  { id: "90d", title: "90 days", days: 90 },
  { id: "all", title: "All", days: 0 },
] as const;

export function dayOf(at: Date): string {
  const pad = (value: number) => String(value).padStart(2, "0");
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
}

/** The first day of a span that ends today; undefined for all. */
export function sinceOf(span: string, today: Date): string | undefined {
  const days = SPANS.find((one) => one.id === span)?.days ?? 30;
  if (!days) return undefined;
  return dayOf(new Date(today.getFullYear(), today.getMonth(), today.getDate() - days + 1));
}

/** Every day from one to another, both included. */
export function daysBetween(first: string, last: string): string[] {
  const found: string[] = [];
  const at = new Date(`${first}T12:00:00`);
  while (dayOf(at) <= last && found.length < 400) {
    found.push(dayOf(at));
    at.setDate(at.getDate() + 1);
  }
  return found;
}

export function dollars(text: string | number | null): string {
  if (text === null) return "unpriced";
  const usd = Number(text);
  if (usd === 0) return "$0";
  return usd < 0.01 ? "<$0.01" : `$${usd.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
}
