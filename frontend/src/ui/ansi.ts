/** A line's text as safe HTML: the CLI's colours by class, and characters that deceive the eye made visible. */
import { AnsiUp } from "ansi_up";
import { visible } from "@/ui/visible";

/** A longer line is folded: nobody reads it whole, and laying it out would hold the page up. */
export const LONG = 4000;
// Operating system commands: titles, links, clipboards.
// oxlint-disable-next-line no-control-regex
const OSC = /\u001B\][^\u0007\u001B]*(?:\u0007|\u001B\\)?/g;
// oxlint-disable-next-line no-control-regex
const CSI = /\u001B\[[0-?]*[ -/]*[@-~]/g;
const WIDE = /[\u1100-\u115F\u2E80-\uA4CF\uAC00-\uD7A3\uF900-\uFAFF\uFE30-\uFE6F\uFF00-\uFF60\uFFE0-\uFFE6]/g;
/** The same rule as the server's. */
const ERROR = /(?<![\w"'])(?:error|fatal|panic|exception|traceback|failed)(?![\w"'])/i;

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
  // Colours without a class come as inline styles, which the content security policy does not allow. What the CLI
  // printed cannot look like one: its quotes are escaped.
  return ansi.ansi_to_html(visible(cut(text, most).replace(OSC, ""))).replaceAll(/ style="[^"]*"/g, "");
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
