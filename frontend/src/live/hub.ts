/**
 * One event stream for many listeners. Each topic has a position, so that a stream opened anew (because the set of
 * topics changed) goes on where the last one stood; the browser itself resumes a broken one by Last-Event-ID.
 */
export type Connection = "live" | "reconnecting" | "idle";

export type ToPort =
  | { kind: "event"; topic: string; name: string; data: unknown }
  | { kind: "state"; state: Connection }
  | { kind: "opened" };

export type FromPort =
  { kind: "watch"; topic: string; from?: number } | { kind: "unwatch"; topic: string } | { kind: "bye" };

export interface Source {
  close(): void;
  addEventListener(name: string, listener: (event: MessageEvent<string>) => void): void;
  readonly readyState: number;
  onopen: ((event: Event) => void) | null;
  onerror: ((event: Event) => void) | null;
}

export interface Port {
  send(message: ToPort): void;
}

const CLOSED = 2;
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30_000;
const EVENTS = ["execution", "counts", "lines", "log_gap", "log_end", "events"];

export class Hub {
  private readonly watched = new Map<Port, Set<string>>();
  private readonly positions = new Map<string, number>();
  private source: Source | null = null;
  private url = "";
  private timer: ReturnType<typeof setTimeout> | null = null;
  private state: Connection = "idle";
  private waitMs = FIRST_WAIT_MS;
  private paused = false;

  constructor(
    private readonly open: (url: string) => Source,
    private readonly settleMs = 30,
  ) {}

  join(port: Port): void {
    this.watched.set(port, new Set());
    port.send({ kind: "state", state: this.state });
  }

  leave(port: Port): void {
    this.watched.delete(port);
    this.renew();
  }

  receive(port: Port, message: FromPort): void {
    const topics = this.watched.get(port);
    if (!topics) return;
    if (message.kind === "bye") return this.leave(port);
    if (message.kind === "watch") {
      topics.add(message.topic);
      if (message.from !== undefined && !this.positions.has(message.topic))
        this.positions.set(message.topic, message.from);
    } else {
      topics.delete(message.topic);
    }
    this.renew();
  }

  /** Gives the connection back while nobody looks; each topic goes on later where it stood. */
  pause(paused: boolean): void {
    if (this.paused === paused) return;
    this.paused = paused;
    this.renew();
  }

  private retry(): void {
    this.source?.close();
    this.source = null;
    this.url = "";
    if (this.timer) clearTimeout(this.timer);
    this.timer = setTimeout(() => this.reopen(), this.waitMs);
    this.waitMs = Math.min(this.waitMs * 2, LONGEST_WAIT_MS);
  }

  /** Opens the stream for what is watched now, a moment later: a page names its topics one after the other. */
  private renew(): void {
    if (this.timer) clearTimeout(this.timer);
    this.timer = setTimeout(() => this.reopen(), this.settleMs);
  }

  private reopen(): void {
    const topics = [...new Set([...this.watched.values()].flatMap((set) => [...set]))].sort();
    for (const topic of this.positions.keys()) if (!topics.includes(topic)) this.positions.delete(topic);
    const wanted = this.paused ? "" : topics.join(",");
    if (wanted === this.url) return;
    this.url = wanted;
    this.source?.close();
    this.source = null;
    if (!wanted) return this.tell("idle");
    const parts = topics.map((topic) => {
      const at = this.positions.get(topic);
      return at === undefined ? topic : `${topic}:${at}`;
    });
    const source = this.open(`/api/stream?topics=${encodeURIComponent(parts.join(","))}`);
    this.source = source;
    source.onopen = () => {
      this.waitMs = FIRST_WAIT_MS;
      this.tell("live");
      this.broadcast({ kind: "opened" });
    };
    source.onerror = () => {
      this.tell("reconnecting");
      // The browser tries again by itself unless the server refused: then it is on us, with patience.
      if (source.readyState === CLOSED) this.retry();
    };
    for (const name of EVENTS) source.addEventListener(name, (event) => this.pass(name, JSON.parse(event.data)));
  }

  private pass(
    name: string,
    data: { id?: string; from?: number; texts?: string[]; items?: { seq: number }[]; to?: number },
  ): void {
    if (name === "execution") {
      this.deliver("executions", name, data);
      this.deliver(`execution:${data.id}`, name, data);
      return;
    }
    if (name === "counts") return this.deliver("executions", name, data);
    const topic = `${name === "events" ? "events" : "lines"}:${data.id}`;
    const item = data.items?.at(-1);
    if (data.texts) this.positions.set(topic, (data.from ?? 1) + data.texts.length);
    else if (item) this.positions.set(topic, item.seq);
    else if (name === "log_gap" && data.to !== undefined) this.positions.set(topic, data.to + 1);
    this.deliver(topic, name, data);
  }

  private deliver(topic: string, name: string, data: unknown): void {
    for (const [port, topics] of this.watched) if (topics.has(topic)) port.send({ kind: "event", topic, name, data });
  }

  private tell(state: Connection): void {
    if (state === this.state) return;
    this.state = state;
    this.broadcast({ kind: "state", state });
  }

  private broadcast(message: ToPort): void {
    for (const port of this.watched.keys()) port.send(message);
  }
}
