import { describe, expect, it, vi } from "vitest";
import { Hub, type FromPort, type Source, type ToPort } from "@/live/hub";

class FakeSource implements Source {
  closed = false;
  readyState = 1;
  onopen: ((event: Event) => void) | null = null;
  onerror: ((event: Event) => void) | null = null;
  private readonly listeners = new Map<string, (event: MessageEvent<string>) => void>();

  constructor(readonly url: string) {}

  close(): void {
    this.closed = true;
  }

  addEventListener(name: string, listener: (event: MessageEvent<string>) => void): void {
    this.listeners.set(name, listener);
  }

  tell(name: string, data: unknown): void {
    this.listeners.get(name)?.({ data: JSON.stringify(data) } as MessageEvent<string>);
  }
}

function setUp(): { hub: Hub; sources: FakeSource[]; join: () => { heard: ToPort[]; send: (m: FromPort) => void } } {
  vi.useFakeTimers();
  const sources: FakeSource[] = [];
  const hub = new Hub((url) => {
    const source = new FakeSource(decodeURIComponent(url));
    sources.push(source);
    return source;
  });
  const join = () => {
    const heard: ToPort[] = [];
    const port = { send: (message: ToPort) => heard.push(message) };
    hub.join(port);
    return { heard, send: (message: FromPort) => hub.receive(port, message) };
  };
  return { hub, sources, join };
}

describe("the stream's hub", () => {
  it("opens one stream for the topics of all pages", () => {
    const { sources, join } = setUp();
    join().send({ kind: "watch", topic: "executions" });
    join().send({ kind: "watch", topic: "lines:exe_1", from: 7 });
    vi.runAllTimers();
    expect(sources.map((one) => one.url)).toEqual(["/api/stream?topics=executions,lines:exe_1:7"]);
  });

  it("goes on where the log stood when the topics change", () => {
    const { sources, join } = setUp();
    const page = join();
    page.send({ kind: "watch", topic: "lines:exe_1", from: 1 });
    vi.runAllTimers();
    sources[0]!.tell("lines", { id: "exe_1", from: 1, texts: ["a", "b"], total: 2 });
    page.send({ kind: "watch", topic: "executions" });
    vi.runAllTimers();
    expect(sources[0]!.closed).toBe(true);
    expect(sources[1]!.url).toBe("/api/stream?topics=executions,lines:exe_1:3");
  });

  it("tells each page only what it watches", () => {
    const { sources, join } = setUp();
    const list = join();
    const run = join();
    list.send({ kind: "watch", topic: "executions" });
    run.send({ kind: "watch", topic: "lines:exe_1" });
    vi.runAllTimers();
    sources[0]!.tell("counts", { running: 1 });
    expect(list.heard.filter((message) => message.kind === "event")).toHaveLength(1);
    expect(run.heard.filter((message) => message.kind === "event")).toHaveLength(0);
  });

  it("opens a refused stream again, with patience", () => {
    const { sources, join } = setUp();
    join().send({ kind: "watch", topic: "executions" });
    vi.runAllTimers();
    sources[0]!.readyState = 2;
    sources[0]!.onerror?.(new Event("error"));
    vi.advanceTimersByTime(900);
    expect(sources).toHaveLength(1);
    vi.advanceTimersByTime(200);
    expect(sources).toHaveLength(2);
    expect(sources[1]!.url).toBe("/api/stream?topics=executions");
  });

  it("gives the connection back while nobody looks, and goes on where it stood", () => {
    const { hub, sources, join } = setUp();
    join().send({ kind: "watch", topic: "lines:exe_1", from: 1 });
    vi.runAllTimers();
    sources[0]!.tell("lines", { id: "exe_1", from: 1, texts: ["a"], total: 1 });
    hub.pause(true);
    vi.runAllTimers();
    expect(sources[0]!.closed).toBe(true);
    hub.pause(false);
    vi.runAllTimers();
    expect(sources[1]!.url).toBe("/api/stream?topics=lines:exe_1:2");
  });

  it("closes the stream when the last page goes", () => {
    const { sources, join } = setUp();
    const page = join();
    page.send({ kind: "watch", topic: "executions" });
    vi.runAllTimers();
    page.send({ kind: "bye" });
    vi.runAllTimers();
    expect(sources[0]!.closed).toBe(true);
    expect(sources).toHaveLength(1);
  });
});
