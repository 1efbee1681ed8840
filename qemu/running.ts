import type { Console, End } from "./console.ts";

/** A started machine as its lane gives it: what machine.ts builds on. */
export interface Running {
  readonly console: Console;
  /** Where port 9090 of the machine is reached from this host: "127.0.0.1:40123". */
  readonly target: string;
  readonly ended: Promise<End>;
  /** Types on its own keyboard, the serial line; absent where it has none. */
  type?(text: string): void;
  /** Copies its data disk to a path of this host, as a power cut at this moment would leave it; absent where it has none of its own. */
  copyData?(to: string): Promise<void>;
  /** Processor time that the processes of the machine have used so far, on this host: QEMU's own in its lanes. Milliseconds. */
  processorMs(): number;
  /** A power cut: what runs the machine is killed, nothing in it gets to say a word. Resolves when all of it is gone. */
  cut(): Promise<void>;
}

/** The network a machine is told to use; absent = DHCP. */
export interface NetworkSettings {
  /** With its prefix length: "10.190.0.2/30". */
  readonly address: string;
  readonly gateway: string;
}
