import { expect, it } from "vitest";
import { capabilityFor } from "./grants.ts";

it.each([
  ["fs:write:{path}", { path: "/srv/a//b/../c/" }, "fs:write:/srv/a/c"],
  ["fs:read:{path}", { path: "/srv/*?\\" }, "fs:read:/srv/\\*\\?\\\\"],
  ["process:signal:{pid}", { pid: 4711 }, "process:signal:4711"],
  ["net:local:127.0.0.1", {}, "net:local:127.0.0.1"],
  ["net:local:{host}", { host: "127.0.0.1" }, "net:local:127.0.0.1"],
])("%s with %j is exactly what is named", (template, input, capability) => {
  expect(capabilityFor(template, input)).toBe(capability);
});

it.each([[{}], [{ pid: 1.5 }], [{ pid: null }], [{ pid: ["1"] }], [{ pid: Number.NaN }]])(
  "refuses what names no one thing: %j",
  (input) => {
    expect(() => capabilityFor("process:signal:{pid}", input)).toThrow("neither text nor a whole number pid");
  },
);
