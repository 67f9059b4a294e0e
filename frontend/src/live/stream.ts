/** What pages use of the event stream: watch a topic, hear its events, know whether the connection lives. */
import { onScopeDispose, readonly, ref } from "vue";
import { Hub, type Connection, type FromPort, type ToPort } from "./hub";

type Listener = (name: string, data: unknown) => void;

const HIDDEN_MS = 30_000;
const listeners = new Map<string, Set<Listener>>();
const openers = new Set<() => void>();
const state = ref<Connection>("idle");
let post: ((message: FromPort) => void) | null = null;

export const connection = readonly(state);

function receive(message: ToPort): void {
  if (message.kind === "state") state.value = message.state;
  else if (message.kind === "opened") openers.forEach((act) => act());
  else listeners.get(message.topic)?.forEach((listener) => listener(message.name, message.data));
}

function connect(): (message: FromPort) => void {
  if (typeof SharedWorker !== "undefined") {
    const worker = new SharedWorker(new URL("./worker.ts", import.meta.url), { type: "module", name: "agented-live" });
    worker.port.onmessage = (event: MessageEvent<ToPort>) => receive(event.data);
    // Ports have no close event: a page says good-bye itself.
    addEventListener("pagehide", () => worker.port.postMessage({ kind: "bye" } satisfies FromPort));
    addEventListener("pageshow", (event) => event.persisted && location.reload());
    return (message) => worker.port.postMessage(message);
  }
  const hub = new Hub((url) => new EventSource(url));
  const port = { send: receive };
  hub.join(port);
  // Each tab has a connection of its own here, and a browser has six: a tab that nobody sees gives its one back.
  let due: ReturnType<typeof setTimeout> | undefined;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(due);
    if (document.hidden) due = setTimeout(() => hub.pause(true), HIDDEN_MS);
    else hub.pause(false);
  });
  return (message) => hub.receive(port, message);
}

/** Watches a topic until the component goes. from: the position to begin with, for logs and events. */
export function watchTopic(topic: string, listener: Listener, from?: number): () => void {
  post ??= connect();
  const known = listeners.get(topic) ?? new Set();
  known.add(listener);
  listeners.set(topic, known);
  post({ kind: "watch", topic, from });
  const stop = () => {
    known.delete(listener);
    if (known.size === 0 && listeners.get(topic) === known) {
      listeners.delete(topic);
      post?.({ kind: "unwatch", topic });
    }
  };
  onScopeDispose(stop, true);
  return stop;
}

/** Calls `act` each time the stream is opened: rows may have changed meanwhile. */
export function onOpened(act: () => void): void {
  openers.add(act);
  onScopeDispose(() => openers.delete(act), true);
}
