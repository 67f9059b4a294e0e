/** A line's text as safe HTML: the CLI's colours by class, and characters that deceive the eye made visible. */
import { AnsiUp } from "ansi_up";

/** A longer line is folded: nobody reads it whole, and laying it out would hold the page up. */
export const LONG = 4000;
// Bidirectional controls and zero-width characters reorder or hide what stands there.
const UNSEEN = /[\u200B-\u200F\u202A-\u202E\u2060-\u2069\uFEFF]/g;
// Control characters except tab and escape; sequences that are no colours are dropped by the converter.
// oxlint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u0008\u000B-\u001A\u001C-\u001F\u007F]/g;
// Operating system commands: titles, links, clipboards.
// oxlint-disable-next-line no-control-regex
const OSC = /\u001B\][^\u0007\u001B]*(?:\u0007|\u001B\\)?/g;
// oxlint-disable-next-line no-control-regex
const CSI = /\u001B\[[0-?]*[ -/]*[@-~]/g;
const WIDE = /[\u1100-\u115F\u2E80-\uA4CF\uAC00-\uD7A3\uF900-\uFAFF\uFE30-\uFE6F\uFF00-\uFF60\uFFE0-\uFFE6]/g;
/** The same rule as the server's. */
const ERROR = /(?<![\w"'])(?:error|fatal|panic|exception|traceback|failed)(?![\w"'])/i;

export function visible(text: string): string {
  return text
    .replace(UNSEEN, (c) => `⟨U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`)
    .replace(CONTROL, (c) => String.fromCharCode(c === "\u007F" ? 0x2421 : 0x2400 + c.charCodeAt(0)));
}

export function speaksOfError(text: string): boolean {
  return ERROR.test(text.length > LONG ? text.slice(0, LONG) : text);
}

function cut(text: string, most: number): string {
  return text.length > most ? text.slice(0, most) : text;
}

export function toHtml(text: string, most = LONG): string {
  const ansi = new AnsiUp();
  ansi.use_classes = true;
  ansi.escape_html = true;
  ansi.url_allowlist = {};
  return ansi.ansi_to_html(visible(cut(text, most).replace(OSC, "")));
}

/** Its text without colours, as it is copied. */
export function toPlain(text: string): string {
  return text.replace(OSC, "").replace(CSI, "");
}

/** How many columns of a fixed-width font it takes; wide characters take two. */
export function columns(text: string, most = LONG): number {
  const shown = visible(toPlain(cut(text, most)));
  let tabs = 0;
  for (let at = shown.indexOf("\t"); at >= 0; at = shown.indexOf("\t", at + 1)) tabs += 7;
  return shown.length + tabs + (shown.match(WIDE)?.length ?? 0);
}
