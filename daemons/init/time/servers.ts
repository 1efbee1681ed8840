import { isIP } from "node:net";

/** Where a time server is. */
export interface TimeServer {
  /** As it was named. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

const portDefault = 123;

/** "10.0.0.1", "ntp.example.org", "[2001:db8::1]:1123", "10.0.0.1:1123": a server; undefined for anything else. */
export function parseTimeServer(name: string): TimeServer | undefined {
  if (isIP(name) !== 0) return { name, host: name, port: portDefault };
  const [, bracketed, plain, port = `${portDefault}`] =
    /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?))(?::(\d{1,5}))?$/.exec(name) ?? [];
  const host = plain ?? (isIP(bracketed ?? "") === 6 ? bracketed : undefined);
  const number = Number(port);
  return host === undefined || number < 1 || number > 65_535 ? undefined : { name, host, port: number };
}
