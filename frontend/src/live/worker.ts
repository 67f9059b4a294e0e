/** The SharedWorker that owns the browser's one event stream: HTTP/1.1 allows six connections for all tabs together. */
import { Hub, type FromPort, type Port } from "./hub";

const hub = new Hub((url) => new EventSource(url));

(self as unknown as { onconnect: (event: MessageEvent) => void }).onconnect = (event) => {
  const channel = event.ports[0];
  if (!channel) return;
  const port: Port = { send: (message) => channel.postMessage(message) };
  hub.join(port);
  channel.onmessage = (received: MessageEvent<FromPort>) => hub.receive(port, received.data);
};
