/**
 * The page of metrics is off unless a port is set: loopback is open to every program that has the network, and the page
 * is for a collector that an operator installs.
 */
import { once } from "node:events";
import { createServer } from "node:http";

const path = "/metrics";

/**
 * Serves `text()` to Prometheus at http://127.0.0.1:`port`/metrics: loopback only, nothing else, no other method.
 * Returns the port (of interest when `port` is 0) and how it ends. Rejects when the port is taken.
 */
export async function serveMetrics(
  port: number,
  text: () => string,
): Promise<{ readonly port: number; readonly close: () => void }> {
  const server = createServer((request, response) => {
    const found = request.method === "GET" && request.url === path;
    response.writeHead(found ? 200 : 404, { "content-type": "text/plain; version=0.0.4; charset=utf-8" });
    response.end(found ? text() : `GET ${path}\n`);
  });
  server.headersTimeout = 5_000;
  server.requestTimeout = 5_000;
  server.maxConnections = 16;
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  server.unref();
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : port,
    close: () => void server.close(),
  };
}
