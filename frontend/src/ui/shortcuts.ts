/** One registry of keys: it feeds the listener, the palette and the list behind `?`. */
import { onScopeDispose, readonly, shallowRef } from "vue";

export interface Shortcut {
  /** Such as `c`, `g r` (one after the other), `mod+k`, `shift+?`. */
  keys: string;
  title: string;
  act: () => void;
}

const all = shallowRef<Shortcut[]>([]);
export const shortcuts = readonly(all);

export function useShortcuts(list: Shortcut[]): void {
  all.value = [...all.value, ...list];
  onScopeDispose(() => {
    all.value = all.value.filter((known) => !list.includes(known));
  });
}

let prefix = "";
let prefixAt = 0;

function typing(target: EventTarget | null): boolean {
  const element = target as HTMLElement | null;
  return Boolean(element?.closest?.("input, textarea, select, [contenteditable], [role=dialog]"));
}

function chord(event: KeyboardEvent): string {
  const mod = event.ctrlKey || event.metaKey ? "mod+" : "";
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  return mod + key;
}

export function handleKey(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.altKey) return;
  const pressed = chord(event);
  if (!pressed.startsWith("mod+") && typing(event.target)) return;
  // Enter on a button or a link is that button's.
  if (pressed === "Enter" && (event.target as HTMLElement | null)?.closest?.("button, a, summary, label")) return;
  const sequence = Date.now() - prefixAt < 900 ? `${prefix} ${pressed}` : pressed;
  // The newest registration wins: a page's key over the shell's.
  const hit = all.value.findLast((known) => known.keys === sequence) ?? all.value.findLast((k) => k.keys === pressed);
  if (hit) {
    event.preventDefault();
    prefix = "";
    hit.act();
  } else if (all.value.some((known) => known.keys.startsWith(`${pressed} `))) {
    prefix = pressed;
    prefixAt = Date.now();
  } else {
    prefix = "";
  }
}
