/** Marks what a search found in the rows on screen, without touching the rows: CSS custom highlights, where known. */
const NAME = "log-match";
const MOST = 2000;

let styled = false;

/** The rule is put in here: tools that shrink style sheets do not know this pseudo-element yet. */
function style(): void {
  if (styled) return;
  styled = true;
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`::highlight(${NAME}) { background: var(--match); }`);
  document.adoptedStyleSheets.push(sheet);
}

export function paintMatches(box: HTMLElement, text: string): void {
  if (typeof CSS === "undefined" || !("highlights" in CSS)) return;
  if (!text) {
    CSS.highlights.delete(NAME);
    return;
  }
  const exact = text !== text.toLowerCase();
  const ranges: Range[] = [];
  const walker = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node && ranges.length < MOST; node = walker.nextNode()) {
    if (node.parentElement?.closest("a, button")) continue;
    const content = exact ? (node.nodeValue ?? "") : (node.nodeValue ?? "").toLowerCase();
    for (let at = content.indexOf(text); at >= 0; at = content.indexOf(text, at + text.length)) {
      const range = new Range();
      range.setStart(node, at);
      range.setEnd(node, at + text.length);
      ranges.push(range);
    }
  }
  style();
  CSS.highlights.set(NAME, new Highlight(...ranges));
}
