/** Where the machine that is tried keeps its things, and a folder that callers may use. */
export interface Ground {
  readonly run: string;
  readonly state: string;
  readonly etc: string;
  readonly work: string;
}

/**
 * The bar to a person of the role operator: that an admin alone may do it, that nobody may, that it is no input at all,
 * or nothing: it may be done, and does no harm.
 */
export type Held = "admin" | "nobody" | "malformed" | "nothing";

export interface Worst {
  readonly held: Held;
  readonly input: object;
}

const by = (held: Held) => (input: object) => ({ held, input });
export const admin = by("admin");
export const nobody = by("nobody");
export const malformed = by("malformed");
export const nothing = by("nothing");

export const unknown = "01890000-0000-7000-8000-000000000000";
export const noInterface = "aios-none0";
/** Where nothing listens: the discard service's port. */
export const closed = "http://127.0.0.1:9/";

/** Programs of root that read these run what they say. A name of ours, so that nothing of a host stands there. */
const runAsRoot = [
  "/usr/lib/aios/walk.cjs",
  "/usr/local/bin/aios-walk",
  "/lib/aios-walk",
  "/root/.aios-walk",
  "/root/.ssh/aios-walk",
  "/home/bob/.ssh/authorized_keys",
  "/etc/sudoers.d/aios-walk",
  "/etc/cron.d/aios-walk",
  "/etc/ld.so.conf.d/aios-walk.conf",
  "/etc/ld.so.preload",
  "/etc/profile.d/aios-walk.sh",
  "/etc/apt/apt.conf.d/99aios-walk",
  "/etc/ssl/certs/aios-walk.pem",
  "/etc/modprobe.d/aios-walk.conf",
  "/etc/udev/rules.d/aios-walk.rules",
  "/etc/systemd/system/aios-walk.service",
  "/etc/init.d/aios-walk",
  "/etc/pam.d/aios-walk",
  "/etc/perl/aios-walk.pm",
  "/etc/python3/aios-walk.py",
  "/etc/dbus-1/system.d/aios-walk.conf",
  "/etc/network/if-up.d/aios-walk",
  "/etc/logrotate.d/aios-walk",
  "/etc/kernel/postinst.d/aios-walk",
  "/etc/aios-walk/daemon.conf",
  "/etc/rsyncd.conf",
  "/opt/aios-walk/bin/start",
  "/boot/aios-walk",
  "/var/spool/cron/crontabs/aios-walk",
  "/var/cache/apt/archives/aios-walk_1_all.deb",
  "/var/lib/dpkg/info/aios-walk.postinst",
  "/var/lib/aios-walk/x",
  "/var/log/aios/aios-walk",
];

const nobodys = [
  "/run/containers/aios-walk",
  "/run/aios-walk",
  "/proc/sys/kernel/core_pattern",
  "/sys/aios-walk",
].concat(["/dev/aios-walk", "/mnt/aios-walk"]);

/** The folders that hold protected places. */
export const above = ["/", "/var", "/etc", "/usr"];

const secretsOf = ({ state, run }: Ground) => [
  `${state}/console/ca.key`,
  `${state}/ledger/ledger.key`,
  `${state}/gateway/secrets.json`,
  `${run}/provision/key`,
];

/** The inputs of a tool that takes no folder of the system away: "/" is no entry of one. */
export const inNone = (inputs: readonly Worst[]) =>
  inputs.map((one) => (Object.values(one.input).includes("/") ? malformed(one.input) : one));

const foldersOf = ({ state }: Ground) => [state, `${state}/console`];

/** Inputs for many tools: what changes, takes away, reads or packs what is not the caller's. */
export function tricksOn(ground: Ground) {
  const { run, state, etc, work } = ground;
  const secrets = secretsOf(ground);
  const folders = foldersOf(ground);
  const ours = [`${etc}/security/policy.toml`, `${etc}/services/walk.toml`, `${etc}/triggers/walk.toml`];
  const own = [
    ...ours,
    `${etc}/agents/walk.toml`,
    `${state}/orchestrator/autonomy.json`,
    `${work}/etc/triggers/walk.toml`,
  ];
  /** By their own name, and by the links that lead there. */
  const changed = (input: (path: string) => object) => [
    ...[...runAsRoot, ...own].map((path) => admin(input(path))),
    ...[...nobodys, `${state}/ledger/ledger.key`, `${run}/walk`].map((path) => nobody(input(path))),
  ];
  const removed = (input: (path: string) => object) => [
    ...[...ours, "/etc/passwd", "/usr/bin"].map((path) => admin(input(path))),
    ...["/", "/var", "/home", "/proc/1", "/run", ...secrets, run].map((path) => nobody(input(path))),
  ];
  const readable = (input: (path: string) => object) => [
    ...secrets.map((path) => nobody(input(path))),
    ...["/etc/shadow", "/etc/ssh/aios-walk", `${etc}/security/policy.toml`].map((path) => admin(input(path))),
    ...[`${work}/key`, `${work}/state/console/ca.key`].map((path) => nobody(input(path))),
    ...["/proc/1/environ", "/proc/self/environ", "/proc/1/mem", "/proc/1/maps"].map((path) => nobody(input(path))),
  ];
  const packed = (input: (path: string) => object) => folders.map((path) => nobody(input(path)));
  const name = (one: string) => ({ name: one });
  const daemon = [nothing(name("memory")), nothing(name("init")), malformed(name("../x"))];
  const packages = [
    malformed(name("./walk.deb")),
    malformed(name(`${work}/walk.deb`)),
    malformed(name("-oDPkg::Pre-Invoke::=id")),
    malformed({ name: "web", version: "1 -o x=y" }),
  ];
  const container = [nothing(name("walk")), malformed(name("--privileged")), malformed(name("../x"))];
  const repository = `${work}/repository`;
  const gitChange = (more: object = {}) => [
    nothing({ path: repository, ...more }),
    admin({ path: "/usr/lib/aios", ...more }),
    admin({ path: `${etc}/security`, ...more }),
    nobody({ path: `${state}/ledger`, ...more }),
  ];
  const gitRead = [
    nothing({ path: repository }),
    nobody({ path: `${state}/console` }),
    admin({ path: `${etc}/security` }),
  ];
  const rule = { reason: "a walk", interface: "eth0; flush ruleset" };
  const plain = [nothing({})];
  return {
    ...ground,
    secrets,
    folders,
    changed,
    removed,
    readable,
    packed,
    name,
    daemon,
    packages,
    container,
    repository,
    gitChange,
    gitRead,
    rule,
    plain,
  };
}

export type Tricks = ReturnType<typeof tricksOn>;

/** Inputs by the tool that they are for. */
export type Inputs = Readonly<Record<string, readonly Worst[]>>;
