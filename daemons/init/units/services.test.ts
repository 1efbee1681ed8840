import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { accountOf, becomeOwn, ownAccount } from "./accounts.ts";
import { parseService, serviceFileLengthMax, withEnabled } from "./services.ts";

const file = "/etc/aios/services/web.toml";
const minimal = 'name = "web"\nargv = ["/usr/sbin/web", "-f"]\n';

describe("a service's file", () => {
  it("needs a name and a program; the rest has defaults", () => {
    expect(parseService(minimal, file)).toEqual({
      name: "web",
      needs: [],
      restart: "always",
      argv: ["/usr/sbin/web", "-f"],
      user: "root",
      network: true,
      enabled: false,
      limits: { memoryMiB: 2048, pids: 512 },
      ofAgent: false,
    });
    expect(parseService(`${minimal}defined_by = "agent task"\n`, file)).toMatchObject({ ofAgent: true });
    const all = `${minimal}user = "www-data"\nrestart = "on-failure"\nenabled = true\nready_port = 80\nmemory_mib = 64\npids_max = 9\n`;
    expect(parseService(all, file)).toMatchObject({
      user: "www-data",
      restart: "on-failure",
      enabled: true,
      readyPort: 80,
      limits: { memoryMiB: 64, pids: 9 },
    });
  });

  it.each([
    ["argv = [1]", /web\.toml:\d+: .*name: the key is missing/],
    [minimal.replace('"web"', '"other"'), /not named other\.toml/],
    [minimal.replace("/usr/sbin/web", "web"), /no absolute path/],
    [minimal.replace('"-f"', '"a\\u0000b"'), /cannot hold NUL/],
    [`${minimal}user = "aios-memory"\n`, /account of a daemon/],
    [`${minimal}restart = "sometimes"\n`, /web\.toml:3: restart/],
    [`${minimal}shell = true\n`, /web\.toml:3: shell: no such key/],
    [`${minimal}[`, /web\.toml:3/],
    [`${minimal}#${"x".repeat(serviceFileLengthMax)}`, /longer than/],
  ])("%# says what is wrong with it", (text, message) => {
    expect(() => parseService(text, file)).toThrow(message);
  });

  it("is enabled and disabled with its comments kept", () => {
    const text = `# the web\n${minimal}enabled = false # for now\n`;
    const enabled = withEnabled(text, true, file);
    expect(enabled).toBe(`# the web\n${minimal}enabled = true # for now\n`);
    expect(withEnabled(enabled, false, file)).toBe(text);
    expect(withEnabled(minimal, true, file)).toBe(`enabled = true\n${minimal}`);
    const odd = `name = "web"\nargv = ["/bin/web", """\nenabled = true\n"""]\n`;
    expect(() => withEnabled(odd, true, file)).toThrow("without rewriting");
  });
});

describe("a user of its own", () => {
  const become = (network: boolean, ...argv: string[]) => {
    const [program = "", ...args] = [...becomeOwn(ownAccount("web"), network), ...argv];
    return execFileSync(program, args, { encoding: "utf8" });
  };

  it("is nobody's else, by a service's name", () => {
    const { uid, gid } = ownAccount("web");
    expect([uid, gid]).toEqual([ownAccount("web").uid, uid]);
    expect(uid).toBeGreaterThanOrEqual(61_184);
    expect(uid).toBeLessThanOrEqual(65_519);
    expect(ownAccount("other").uid).not.toBe(uid);
    expect(become(true, "/usr/bin/id").trim()).toBe(`uid=${uid} gid=${gid} groups=${gid}`);
  });

  it("has no right but that of low ports, and without a network not that, nor any network", () => {
    const effective = (network: boolean) =>
      become(network, "/bin/grep", "-h", "CapEff", "/proc/self/status").slice(8).trim();
    expect([effective(true), effective(false)]).toEqual(["0000000000000400", "0000000000000000"]);
    expect(become(false, "/bin/cat", "/proc/net/dev").match(/^ *\w+:/gm)).toEqual(["    lo:"]);
  });
});

describe("accounts", () => {
  const passwd = "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:34:www:/var/www:/usr/sbin/nologin\n";

  it("are found by name", () => {
    expect(accountOf("www-data", passwd)).toEqual({ uid: 33, gid: 34, home: "/var/www" });
    expect(() => accountOf("nobody", passwd)).toThrow("account nobody: it is not in /etc/passwd");
  });
});
