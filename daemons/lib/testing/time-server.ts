/**
 * A time server on loopback that answers as ntpd 4.2.8 and chrony 4.6 do: the formats of RFC 5905 (figure 8), kiss codes as
 * in its section 7.4, what a server says before it is set as both say it (leap 3, stratum 16 or 0 with INIT). Odd answers are
 * those that clients have been seen to meet: CVE-2015-8138 (zero origin), CVE-2016-7434 (short packets), replies of another
 * question, broadcast mode, times of another era. Written down in November 2026.
 */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import type { AddressInfo } from "node:net";

interface AnswerOptions {
  /** How far the server's clock is ahead of ours. */
  readonly aheadMs?: number;
  readonly leap?: number;
  readonly version?: number;
  readonly mode?: number;
  readonly stratum?: number;
  /** Four letters; an address elsewhere. */
  readonly reference?: string;
  readonly rootDelayMs?: number;
  readonly rootDispersionMs?: number;
  /** The last change to the answer. */
  readonly spoil?: (answer: Buffer) => Buffer;
}

export interface TimeServerTwin {
  readonly port: number;
  /** Questions that came. */
  readonly questions: readonly Buffer[];
  /** The answers from now on, one after the other and the last for ever; null is silence. */
  answer(...options: readonly (AnswerOptions | null)[]): void;
  close(): void;
}

const epochOffsetSeconds = 2_208_988_800;

export async function startTimeServer(now: () => number = Date.now): Promise<TimeServerTwin> {
  const socket: Socket = createSocket("udp4");
  const questions: Buffer[] = [];
  let answers: (AnswerOptions | null)[] = [{}];
  socket.on("message", (question, from) => {
    questions.push(Buffer.from(question));
    const options = answers.length > 1 ? answers.shift() : answers[0];
    if (options != null) socket.send(answerTo(question, now, options), from.port, from.address);
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  return {
    port: (socket.address() as AddressInfo).port,
    questions,
    answer: (...options) => {
      answers = [...options];
    },
    close: () => socket.close(),
  };
}

/** The answer to a question, or the one that a server gives whose clock is elsewhere. */
export function answerTo(question: Buffer, now: () => number, options: AnswerOptions = {}): Buffer {
  const { aheadMs = 0, leap = 0, version = (question.readUInt8(0) >> 3) & 7, mode = 4, stratum = 2 } = options;
  const answer = Buffer.alloc(48);
  answer.writeUInt8((leap << 6) | (version << 3) | mode, 0);
  answer.writeUInt8(stratum, 1);
  answer.writeUInt8(question.readUInt8(2), 2);
  answer.writeInt8(-24, 3);
  writeShort(answer, 4, options.rootDelayMs ?? 12);
  writeShort(answer, 8, options.rootDispersionMs ?? 3);
  answer.write(options.reference ?? "\x0a\x01\x02\x03", 12, 4, "latin1");
  writeTime(answer, 16, now() + aheadMs - 30_000);
  question.copy(answer, 24, 40, 48);
  writeTime(answer, 32, now() + aheadMs);
  writeTime(answer, 40, now() + aheadMs);
  return options.spoil?.(answer) ?? answer;
}

function writeShort(message: Buffer, at: number, ms: number): void {
  message.writeUInt32BE(Math.round((ms / 1000) * 2 ** 16), at);
}

/** Seconds since 1900, as many as fit: the era is not told. */
export function writeTime(message: Buffer, at: number, ms: number): void {
  const seconds = Math.floor(ms / 1000);
  message.writeUInt32BE((seconds + epochOffsetSeconds) % 2 ** 32, at);
  message.writeUInt32BE(Math.floor(((ms - seconds * 1000) / 1000) * 2 ** 32), at + 4);
}
