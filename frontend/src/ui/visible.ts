/** Text of others with the characters that deceive the eye made visible. */
// Bidirectional controls and zero-width characters reorder or hide what stands there.
const UNSEEN = /[\u200B-\u200F\u202A-\u202E\u2060-\u2069\uFEFF]/g;
// Control characters except tab and escape; sequences that are no colours are dropped by the converter.
// oxlint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u0008\u000B-\u001A\u001C-\u001F\u007F]/g;
export function visible(text: string): string {
  return text
    .replace(UNSEEN, (c) => `⟨U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`)
    .replace(CONTROL, (c) => String.fromCharCode(c === "\u007F" ? 0x2421 : 0x2400 + c.charCodeAt(0)));
}
