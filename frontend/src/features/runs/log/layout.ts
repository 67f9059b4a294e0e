/**
 * Where rows stand: one text row each, or more when long lines are wrapped. Browsers cap the height of an element
 * (Chromium at 33,554,428 px), so above MOST_PX the scroll range is a scaled picture of the rows.
 */
export const ROW = 20;
const MOST_PX = 30_000_000;
const BLOCK = 256;

interface Block {
  sum: number;
  extras: Uint16Array;
}

export class Layout {
  private readonly blocks = new Map<number, Block>();
  private extraRows = 0;
  private count = 0;

  /** Takes the number of entries; gives the height of them all in pixels of scrolling. */
  resize(count: number): number {
    this.count = count;
    return Math.min(this.wholePx, MOST_PX);
  }

  /** Says how many rows an entry takes; gives by how many that changed. */
  setRows(index: number, rows: number): number {
    const extra = Math.min(rows - 1, 0xffff);
    const key = Math.floor(index / BLOCK);
    let block = this.blocks.get(key);
    if (!block) {
      if (extra === 0) return 0;
      block = { sum: 0, extras: new Uint16Array(BLOCK) };
      this.blocks.set(key, block);
    }
    const change = extra - block.extras[index % BLOCK]!;
    block.extras[index % BLOCK] = extra;
    block.sum += change;
    this.extraRows += change;
    return change;
  }

  clear(): void {
    this.blocks.clear();
    this.extraRows = 0;
  }

  /** The first row of an entry. */
  rowOf(index: number): number {
    let row = index;
    const own = Math.floor(index / BLOCK);
    for (const [key, block] of this.blocks) {
      if (key < own) row += block.sum;
      else if (key === own) for (let i = 0; i < index % BLOCK; i += 1) row += block.extras[i]!;
    }
    return row;
  }

  /** The entry that a row belongs to. */
  at(row: number): number {
    let low = 0;
    let high = Math.max(0, this.count - 1);
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.rowOf(middle) <= row) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  private get wholePx(): number {
    return (this.count + this.extraRows) * ROW;
  }

  /** How many pixels of rows one pixel of scrolling stands for, in a view of this height. */
  private scale(viewPx: number): number {
    return this.wholePx <= MOST_PX ? 1 : (this.wholePx - viewPx) / (MOST_PX - viewPx);
  }

  toRowsPx(scrollPx: number, viewPx: number): number {
    return scrollPx * this.scale(viewPx);
  }

  toScrollPx(rowsPx: number, viewPx: number): number {
    return rowsPx / this.scale(viewPx);
  }
}
