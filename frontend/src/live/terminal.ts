/** Follows a terminal of the server: its state and its bytes, going on where it stood after a break. */
import { onScopeDispose } from "vue";

export interface TerminalEars {
  state: (state: unknown) => void;
  /** offset: that of the first byte in all that the terminal has printed. */
  output: (id: string, offset: number, bytes: Uint8Array) => void;
  /** Whether the connection lives. */
  connected: (on: boolean) => void;
}

const AGAIN_MS = 2000;

/** Until the component goes. The browser itself resumes a broken connection by Last-Event-ID. */
export function followTerminal(path: string, ears: TerminalEars): () => void {
  let source: EventSource | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;

  function open(): void {
    source = new EventSource(path);
    source.onopen = () => ears.connected(true);
    source.onerror = () => {
      ears.connected(false);
      if (source?.readyState === EventSource.CLOSED) timer = setTimeout(open, AGAIN_MS);
    };
    source.addEventListener("state", (event) => ears.state(JSON.parse((event as MessageEvent<string>).data)));
    source.addEventListener("output", (event) => {
      const told = JSON.parse((event as MessageEvent<string>).data) as { id: string; offset: number; bytes: string };
      ears.output(
        told.id,
        told.offset,
        Uint8Array.from(atob(told.bytes), (c) => c.charCodeAt(0)),
      );
    });
  }

  const stop = () => {
    clearTimeout(timer);
    source?.close();
  };
  open();
  onScopeDispose(stop, true);
  return stop;
}
