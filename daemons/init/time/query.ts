import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { isIPv6 } from "node:net";
import type { Clock } from "#lib/clock";
import { errnoOf } from "#lib/errors";
import { type Question, type Reply, readReply, request } from "./message.ts";

/** A question is asked again when this long there was no answer: the way is one of packets that get lost. */
const tryMs = 2_000;
const triesMax = 3;

/** A server's reply about the time; "silent", with the reason, when it does not answer. */
export type Said = Exclude<Reply, { kind: "foreign" }> | { readonly kind: "silent"; readonly reason: string };

/** Asks a time server. Each question has a socket of its own: a port that nobody can guess, closed to all but the server. */
export async function askTime(address: string, port: number, clock: Clock, floorMs: number): Promise<Said> {
  let said: Said | undefined;
  for (let tries = 0; tries < triesMax; tries += 1) {
    said = await askOnce(address, port, clock, floorMs);
    if (said.kind !== "silent") return said;
  }
  return said ?? { kind: "silent", reason: "not asked" };
}

function askOnce(address: string, port: number, clock: Clock, floorMs: number): Promise<Said> {
  return new Promise((resolve) => {
    const socket = createSocket(isIPv6(address) ? "udp6" : "udp4");
    const late = new AbortController();
    const end = (said: Said) => {
      late.abort();
      socket.removeAllListeners();
      socket.on("error", () => {});
      socket.close();
      resolve(said);
    };
    const fail = (error: Error) => end({ kind: "silent", reason: errnoOf(error) ?? error.message });
    clock.sleep(tryMs, late.signal).then(
      () => end({ kind: "silent", reason: "no answer" }),
      () => {},
    );
    socket.once("error", fail);
    socket.once("connect", () => {
      const question: Question = { nonce: randomBytes(8), sentWallMs: clock.now(), sentMs: clock.monotonic() };
      socket.on("message", (message) => {
        const reply = readReply(message, question, clock.monotonic(), floorMs);
        if (reply.kind !== "foreign") end(reply);
      });
      socket.send(request(question), (error) => {
        if (error !== null) fail(error);
      });
    });
    socket.connect(port, address);
  });
}
