/** Copies text; also where the page is not a secure context and the browser offers no clipboard. */
import { say } from "./toasts";

export async function copy(text: string, told = "Copied."): Promise<void> {
  if (await put(text)) say(told);
  else say("The browser did not let it be copied.", true);
}

async function put(text: string): Promise<boolean> {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Not allowed here: the old way may be.
    }
  }
  const area = document.createElement("textarea");
  area.value = text;
  area.style.position = "fixed";
  area.style.opacity = "0";
  const before = document.activeElement;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (before instanceof HTMLElement) before.focus();
  return done;
}
