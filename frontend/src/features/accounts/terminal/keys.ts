/** What a terminal sends for a key. */

export interface Pressed {
  key: string;
  ctrlKey: boolean;
  altKey: boolean;
  metaKey: boolean;
  shiftKey: boolean;
}

const ARROWS: Record<string, string> = { ArrowUp: "A", ArrowDown: "B", ArrowRight: "C", ArrowLeft: "D" };
const ENDS: Record<string, string> = { Home: "H", End: "F" };
const NAMED: Record<string, string> = {
  Enter: "\r",
  Backspace: "\x7f",
  Escape: "\x1b",
  Delete: "\x1b[3~",
  Insert: "\x1b[2~",
  PageUp: "\x1b[5~",
  PageDown: "\x1b[6~",
};

/**
 * The bytes of a key, or null where it is not for the terminal: characters come as input, Tab leaves it, and what is
 * held with the system's key is the browser's. application: the program asked for the other arrow keys.
 */
export function bytesOf(pressed: Pressed, application: boolean): string | null {
  const { key, ctrlKey, altKey, metaKey } = pressed;
  if (metaKey || key === "Tab") return null;
  const cursor = ARROWS[key] ?? ENDS[key];
  if (cursor) return ctrlKey || altKey ? null : `\x1b${application ? "O" : "["}${cursor}`;
  if (ctrlKey) return altKey ? null : controlOf(key);
  return NAMED[key] ?? null;
}

function controlOf(key: string): string | null {
  const letter = key.toUpperCase();
  // Ctrl+V pastes: the browser gives what is pasted.
  if (letter === "V") return null;
  if (letter.length === 1 && letter >= "A" && letter <= "Z") return String.fromCharCode(letter.charCodeAt(0) - 64);
  return { "[": "\x1b", "\\": "\x1c", "]": "\x1d", " ": "\0" }[key] ?? null;
}

/** What is sent for pasted text; bracketed: the program asked to be told where it begins and ends. */
export function pasted(text: string, bracketed: boolean): string {
  // An escape in it could end the brackets.
  const plain = text.replace(/\r?\n/g, "\r").replaceAll("\x1b", "");
  return bracketed ? `\x1b[200~${plain}\x1b[201~` : plain;
}
