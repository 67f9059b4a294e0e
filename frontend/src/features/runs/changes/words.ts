/** Which words of a changed line differ from the line it was changed from. */
export type Span = [from: number, to: number];

const WORD = /[\p{L}\p{N}_]+|\s+|./gu;
const MOST = 400;

export function changedWords(own: string, other: string): Span[] {
  const a = own.match(WORD) ?? [];
  const b = other.match(WORD) ?? [];
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a.at(-1 - tail) === b.at(-1 - tail)) tail += 1;
  const middle = a.slice(head, a.length - tail);
  const same = common(middle, b.slice(head, b.length - tail));
  const spans: Span[] = [];
  let at = a.slice(0, head).join("").length;
  let kept = 0;
  middle.forEach((word, index) => {
    const end = at + word.length;
    if (same[index]) kept += word.trim().length;
    else if (spans.at(-1)?.[1] === at) spans.at(-1)![1] = end;
    else spans.push([at, end]);
    at = end;
  });
  kept += [...a.slice(0, head), ...a.slice(a.length - tail)].join("").trim().length;
  // Where next to nothing stayed the lines are different lines, and marking all of them says nothing.
  return kept * 4 < own.trim().length ? [] : spans;
}

/** For each word of `a`, whether it is part of the longest common sequence with `b`. */
function common(a: readonly string[], b: readonly string[]): boolean[] {
  const kept = a.map(() => false);
  if (a.length > MOST || b.length > MOST || !a.length || !b.length) return kept;
  const width = b.length + 1;
  const lengths = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1)
    for (let j = b.length - 1; j >= 0; j -= 1)
      lengths[i * width + j] =
        a[i] === b[j]
          ? lengths[(i + 1) * width + j + 1]! + 1
          : Math.max(lengths[(i + 1) * width + j]!, lengths[i * width + j + 1]!);
  for (let i = 0, j = 0; i < a.length && j < b.length;)
    if (a[i] === b[j]) {
      kept[i] = true;
      i += 1;
      j += 1;
    } else if (lengths[(i + 1) * width + j]! >= lengths[i * width + j + 1]!) i += 1;
    else j += 1;
  return kept;
}

/** Puts marks around spans of the text that some HTML shows; tags inside a span stay balanced. */
export function withMarks(html: string, spans: readonly Span[]): string {
  if (!spans.length) return html;
  let made = "";
  let at = 0;
  let index = 0;
  let open = false;
  for (const [piece] of html.matchAll(/<[^>]*>|&[^;\s]+;|[\s\S]/g)) {
    if (piece.length > 1 && piece.startsWith("<")) {
      made += open ? `</mark>${piece}<mark>` : piece;
      continue;
    }
    const span = spans[index];
    if (span && at === span[0]) {
      made += "<mark>";
      open = true;
    }
    made += piece;
    at += 1;
    if (open && span && at >= span[1]) {
      made += "</mark>";
      open = false;
      index += 1;
    }
  }
  return (open ? `${made}</mark>` : made).replaceAll("<mark></mark>", "");
}
