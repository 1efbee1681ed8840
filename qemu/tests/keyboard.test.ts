import { describe, expect, it } from "vitest";
import { bootTimeoutMs } from "../machine.ts";
import { laneRuns, useFleet } from "./fleet.ts";

describe.runIf(laneRuns("qemu"))("a machine that nobody has provisioned", () => {
  const fleet = useFleet();

  it("shows another code when someone types the word at its keyboard, and nothing when they type something else", async () => {
    const machine = await fleet.start({ lane: "qemu", name: "keyboard", provisioned: false });
    try {
      const invitation = /aiosctl enroll \S+ ([0-9A-Z-]+)"; for another code, type code and Enter here/;
      const first = await machine.waitFor(invitation, bootTimeoutMs.qemu);
      const codes = () =>
        machine.console.lines.flatMap(({ text }) => {
          const [, code] = invitation.exec(text) ?? [];
          return code === undefined ? [] : [code];
        });
      machine.type("help\r");
      // Until the console has found PID 1, which takes a moment after a boot, nobody hears what is typed.
      const again = setInterval(() => machine.type("code\r"), 4_000);
      try {
        await machine.console.waitFor(invitation, 90_000, first);
      } finally {
        clearInterval(again);
      }
      const [before = "", after = ""] = codes();
      expect(after).not.toBe(before);
      // The same authority: what proves the machine to its owner does not change.
      expect(after.replaceAll("-", "").slice(7, 23)).toBe(before.replaceAll("-", "").slice(7, 23));
    } finally {
      await machine.cut();
    }
  });
});
