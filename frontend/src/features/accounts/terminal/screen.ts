/**
 * A terminal's screen as rows of text in few colours. The emulator keeps it; what is drawn is text of the page, so that
 * it can be read, selected and searched, and needs no style that the content security policy forbids.
 */
import { Terminal, type IBufferCell, type IBufferLine } from "@xterm/headless";

export interface Part {
  text: string;
  look: string;
  /** An address that may be opened. */
  href?: string;
}

const KEPT_ROWS = 500;
const COLOURS = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
const ADDRESS = /https:\/\/[^\s<>"'`│┃|\\^{}]+/g;
const TRAILING = /[.,;:!)\]]+$/;

export class Screen {
  private readonly terminal: Terminal;
  private readonly cell: IBufferCell;

  /** answer: takes what the emulator says to the program, which asks it where its cursor stands. */
  constructor(columns: number, rows: number, answer: (text: string) => void) {
    this.terminal = new Terminal({ cols: columns, rows, scrollback: KEPT_ROWS, allowProposedApi: true });
    this.cell = this.terminal.buffer.active.getNullCell();
    this.terminal.onData(answer);
  }

  /** Gives when it is on the screen. */
  write(bytes: Uint8Array): Promise<void> {
    return new Promise((done) => this.terminal.write(bytes, done));
  }

  resize(columns: number, rows: number): void {
    if (columns !== this.terminal.cols || rows !== this.terminal.rows) this.terminal.resize(columns, rows);
  }

  get columns(): number {
    return this.terminal.cols;
  }

  get applicationKeys(): boolean {
    return this.terminal.modes.applicationCursorKeysMode;
  }

  get bracketedPaste(): boolean {
    return this.terminal.modes.bracketedPasteMode;
  }

  /** Its row among `rows()`, and its column. */
  get cursor(): { row: number; column: number } {
    const buffer = this.terminal.buffer.active;
    return { row: buffer.baseY + buffer.cursorY, column: Math.min(buffer.cursorX, this.terminal.cols - 1) };
  }

  /** All that is kept, without the empty rows at the end. */
  rows(): Part[][] {
    const buffer = this.terminal.buffer.active;
    const lines: IBufferLine[] = [];
    for (let y = 0; y < buffer.length; y++) {
      const line = buffer.getLine(y);
      if (line) lines.push(line);
    }
    while (lines.length > this.cursor.row + 1 && lines.at(-1)?.translateToString(true) === "") lines.pop();
    const links = this.links(lines);
    return lines.map((line, y) => this.parts(line, links[y] ?? []));
  }

  /** Its text, a string for each row. */
  text(): string[] {
    return this.rows().map((row) => row.map((part) => part.text).join(""));
  }

  dispose(): void {
    this.terminal.dispose();
  }

  /** The addresses by column, for each row; one that was wrapped at the edge stands in several. */
  private links(lines: IBufferLine[]): { from: number; to: number; href: string }[][] {
    const found: { from: number; to: number; href: string }[][] = lines.map(() => []);
    const width = this.terminal.cols;
    for (let start = 0; start < lines.length; start++) {
      let end = start + 1;
      while (lines[end]?.isWrapped) end++;
      const text = lines
        .slice(start, end)
        .map((line) => line.translateToString(false).padEnd(width).slice(0, width))
        .join("");
      for (const match of text.matchAll(ADDRESS)) {
        const href = match[0].replace(TRAILING, "");
        if (!isOffered(href)) continue;
        for (let y = start; y < end; y++) {
          const from = Math.max(match.index - (y - start) * width, 0);
          const to = Math.min(match.index + href.length - (y - start) * width, width);
          if (to > from && from < width) found[y]?.push({ from, to, href });
        }
      }
      start = end - 1;
    }
    return found;
  }

  private parts(line: IBufferLine, links: { from: number; to: number; href: string }[]): Part[] {
    const parts: Part[] = [];
    for (let x = 0; x < line.length; x++) {
      const cell = line.getCell(x, this.cell);
      if (!cell || cell.getWidth() === 0) continue;
      const text = cell.getChars() || " ";
      const look = lookOf(cell);
      const href = links.find((one) => x >= one.from && x < one.to)?.href;
      const last = parts.at(-1);
      if (last && last.look === look && last.href === href) last.text += text;
      else parts.push(href ? { text, look, href } : { text, look });
    }
    const last = parts.at(-1);
    if (last && !last.href && !last.look.includes("bg-")) last.text = last.text.trimEnd();
    return parts.filter((part) => part.text !== "");
  }
}

/** Whether an address of a CLI may be a link: https, a host with a name, nobody's name or password in it. */
export function isOffered(address: string): boolean {
  try {
    const { protocol, username, password, hostname } = new URL(address);
    return protocol === "https:" && !username && !password && /^([a-z0-9-]+\.)+[a-z][a-z0-9-]*$/.test(hostname);
  } catch {
    return false;
  }
}

/** Few looks, readable on both themes, whatever colours the program asks for. */
function lookOf(cell: IBufferCell): string {
  const looks: string[] = [];
  if (cell.isInverse()) looks.push("bg-ink text-page");
  else if (!cell.isBgDefault()) looks.push("bg-raised text-ink");
  else if (cell.isInvisible()) looks.push("opacity-0");
  else {
    const colour = colourOf(cell);
    if (colour) looks.push(`ansi-${colour}-fg`);
    else if (cell.isDim()) looks.push("text-dim");
  }
  if (cell.isBold()) looks.push("font-semibold");
  if (cell.isItalic()) looks.push("italic");
  if (cell.isUnderline()) looks.push("underline");
  if (cell.isStrikethrough()) looks.push("line-through");
  return looks.join(" ");
}

function colourOf(cell: IBufferCell): string | null {
  if (cell.isFgDefault()) return null;
  const value = cell.getFgColor();
  if (cell.isFgRGB()) return nearest((value >> 16) & 255, (value >> 8) & 255, value & 255);
  if (value < 16) return COLOURS[value % 8] ?? null;
  if (value >= 232) return value < 246 ? "black" : "white";
  const levels = [Math.floor((value - 16) / 36), Math.floor((value - 16) / 6) % 6, (value - 16) % 6];
  const [red = 0, green = 0, blue = 0] = levels.map((level) => (level ? 55 + level * 40 : 0));
  return nearest(red, green, blue);
}

/** The named colour of a shade: greys by how light they are, the others by which lights are on. */
function nearest(red: number, green: number, blue: number): string {
  const most = Math.max(red, green, blue);
  const least = Math.min(red, green, blue);
  if (most - least < 40) return most < 150 ? "black" : "white";
  const on = (light: number) => light > (most + least) / 2;
  return COLOURS[Number(on(red)) + 2 * Number(on(green)) + 4 * Number(on(blue))] ?? "white";
}
