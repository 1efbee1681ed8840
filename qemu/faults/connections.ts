import { connect as connectTcp, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { parentPort, workerData } from "node:worker_threads";

/*
 * The thread of a stranger who floods port 9090 with connections: what it computes is not in the operator's way, whose calls are
 * measured in another. Told anything, it ends and says how many connections it made.
 */

/** What a stranger's thread is started with. */
export interface Strangers {
  readonly kind: keyof typeof kinds;
  readonly host: string;
  readonly port: number;
  /** Connections in all; a quarter of them at once. */
  readonly count: number;
}

type Address = Pick<Strangers, "host" | "port">;

const kinds = {
  silent: (address: Address): Socket => connectTcp(address),
  without_certificate: (address: Address): Socket =>
    connectTls({ ...address, rejectUnauthorized: false, ALPNProtocols: ["h2"] }),
  slow: (address: Address): Socket => {
    const socket = connectTcp(address);
    // The head of a TLS record that says there are 512 bytes to come, a byte at a time.
    const bytes = [0x16, 0x03, 0x01, 0x02, 0x00];
    const drip = setInterval(() => socket.write(Buffer.from([bytes.shift() ?? 1])), 500);
    return socket.once("close", () => clearInterval(drip));
  },
} as const;

const { kind, count, ...address }: Strangers = workerData;
const stop = new AbortController();
parentPort?.once("message", () => stop.abort());
parentPort?.postMessage(await hold(() => kinds[kind](address)));
process.exit();

/** Holds connections open until it is told to stop, and makes new ones for those that were closed. */
async function hold(open: () => Socket): Promise<number> {
  const held = new Set<Socket>();
  let made = 0;
  while (!stop.signal.aborted) {
    while (held.size < count / 4 && made < count) {
      const socket = open();
      made++;
      held.add(socket);
      socket.on("error", () => {}).once("close", () => held.delete(socket));
      if (made % 50 === 0) await delay(1);
    }
    await delay(10);
  }
  for (const socket of held) socket.destroy();
  return made;
}
