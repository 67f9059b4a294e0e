/** A line's text as safe HTML: the CLI's colours by class, and characters that deceive the eye made visible. */
import { AnsiUp } from "ansi_up";

const LONG = 4000;
// Bidirectional controls and zero-width characters reorder or hide what stands there.
const UNSEEN = /[\u200B-\u200F\u202A-\u202E\u2060-\u2069\uFEFF]/g;
// Control characters except tab and escape; sequences that are no colours are dropped by the converter.
// oxlint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u0008\u000B-\u001A\u001C-\u001F\u007F]/g;
// Operating system commands: titles, links, clipboards.
// oxlint-disable-next-line no-control-regex
const OSC = /\u001B\][^\u0007\u001B]*(?:\u0007|\u001B\\)?/g;

export function visible(text: string): string {
  return text
    .replace(UNSEEN, (c) => `⟨U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`)
    .replace(CONTROL, (c) => String.fromCharCode(c === "\u007F" ? 0x2421 : 0x2400 + c.charCodeAt(0)));
}

export function toHtml(text: string): string {
  const ansi = new AnsiUp();
  ansi.use_classes = true;
  ansi.escape_html = true;
  ansi.url_allowlist = {};
  const short =
    text.length > LONG ? `${text.slice(0, LONG)} … ${(text.length - LONG).toLocaleString("en")} more` : text;
  return ansi.ansi_to_html(visible(short.replace(OSC, "")));
}
