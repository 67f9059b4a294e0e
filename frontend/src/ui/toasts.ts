/** Short messages at the edge of the page. */
import { readonly, ref } from "vue";

export interface Toast {
  id: number;
  text: string;
  bad: boolean;
}

const shown = ref<Toast[]>([]);
let next = 1;

export const toasts = readonly(shown);

export function say(text: string, bad = false): void {
  const id = next++;
  shown.value = [...shown.value.slice(-3), { id, text, bad }];
  setTimeout(() => dismiss(id), bad ? 9000 : 5000);
}

export function dismiss(id: number): void {
  shown.value = shown.value.filter((toast) => toast.id !== id);
}

/** Says what went wrong, and what to do about it where the server told. */
export function sayError(error: unknown): void {
  const hint = (error as { hint?: string | null }).hint;
  say(`${error instanceof Error ? error.message : String(error)}${hint ? ` ${hint}` : ""}`, true);
}
