/** The filter field of the runs: `is:failed backend:rehearsal words of the prompt`. The text is all of its state. */
import type { State } from "@/api/types";
import { TABS } from "./states";

export const KEYS = ["is", "bot", "backend", "project", "account", "reason"] as const;
export type Key = (typeof KEYS)[number];

export interface Filter {
  values: Partial<Record<Key, string>>;
  text: string;
  /** What could not be understood, for people. */
  wrong: string;
}

const WORD = /(?:([a-z]+):)?(?:"([^"]*)"|(\S+))/g;

export function parse(field: string): Filter {
  const filter: Filter = { values: {}, text: "", wrong: "" };
  const words: string[] = [];
  for (const [whole, key, quoted, plain] of field.matchAll(WORD)) {
    const value = quoted ?? plain ?? "";
    if (key === undefined) words.push(value);
    else if (!isKey(key)) {
      // A word with a colon in it, such as an address, is text.
      words.push(whole);
      if (/^[a-z]+:[^/]/.test(whole)) filter.wrong = `“${key}:” is no filter; it is searched as text.`;
    } else if (key === "is" && !states(value).length) filter.wrong = `There is no state “${value}”.`;
    else filter.values[key] = value;
  }
  filter.text = words.join(" ");
  return filter;
}

function isKey(word: string): word is Key {
  return (KEYS as readonly string[]).includes(word);
}

const STATES: State[] = [...new Set(TABS.flatMap((tab) => tab.states))];

/** The states that `is:` names: a tab's or one of their own. */
export function states(name: string): State[] {
  const tab = TABS.find((one) => one.id === name);
  return tab ? tab.states : STATES.filter((state) => state === name);
}

/** The field with one filter set anew, or taken away. */
export function withValue(field: string, key: Key, value: string | undefined): string {
  const rest = field.replace(new RegExp(`(^|\\s)${key}:(?:"[^"]*"|\\S*)`, "g"), " ");
  const quoted = value && /\s/.test(value) ? `"${value}"` : value;
  return [quoted ? `${key}:${quoted}` : "", rest.trim().replace(/\s+/g, " ")].filter(Boolean).join(" ");
}

/** What the last word could become. */
export function completions(field: string, known: Partial<Record<Key, string[]>>): string[] {
  const word = /\S*$/.exec(field)?.[0] ?? "";
  const [key, begun] = word.includes(":") ? word.split(":", 2) : ["", word];
  const all: string[] = key
    ? (known[key as Key] ?? []).map((value) => `${key}:${/\s/.test(value) ? `"${value}"` : value}`)
    : KEYS.map((one) => `${one}:`);
  const wanted = key ? `${key}:${begun}` : (begun ?? "");
  return wanted && !all.includes(wanted) ? all.filter((one) => one.startsWith(wanted)).slice(0, 8) : [];
}
