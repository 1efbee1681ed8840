import { AiosError } from "#lib/errors";
import type { Identity } from "#lib/service";
import { resolvePath } from "./paths.ts";

/** Places that no grant opens: keys, and the databases and sockets that daemons hold open. One table. */
interface Rule {
  readonly path: string;
  /** "use" refuses reading too. */
  readonly against: "use" | "change";
  readonly from: "everyone" | "agents";
  readonly why: string;
}

const rules = (at: { run: string; state: string; etc: string }): readonly Rule[] => [
  { path: `${at.state}/ledger`, against: "use", from: "everyone", why: "the ledger, its key and the backups" },
  // The data volume and the image lie open there: the same files by another name.
  { path: "/mnt", against: "use", from: "everyone", why: "the volumes that the root is made of" },
  { path: `${at.state}/backups`, against: "use", from: "everyone", why: "the backups, which backup.restore reads" },
  { path: `${at.state}/console`, against: "use", from: "everyone", why: "the machine's certificate authority" },
  { path: `${at.run}/provision`, against: "use", from: "everyone", why: "the machine's key" },
  { path: `${at.etc}/security`, against: "use", from: "agents", why: "policy and API keys" },
  // Who the machine's users are, what they may become and what every program loads: by these a step would be more than granted.
  ...["passwd", "group", "shadow", "gshadow", "sudoers", "sudoers.d", "ld.so.preload"].map(
    (name): Rule => ({
      path: `/etc/${name}`,
      against: "change",
      from: "agents",
      why: "who may do what on this machine",
    }),
  ),
  { path: `${at.etc}/services`, against: "change", from: "agents", why: "what PID 1 runs; call service.define" },
  { path: at.run, against: "change", from: "everyone", why: "the daemons' sockets" },
  { path: `${at.state}/memory`, against: "change", from: "everyone", why: "a database in use" },
  { path: `${at.state}/vectors`, against: "change", from: "everyone", why: "a database in use" },
  { path: `${at.state}/gateway`, against: "use", from: "everyone", why: "the keys of model providers" },
];

/** Throws PERMISSION_DENIED when a tool of this effect may not touch a path. */
export type Reserved = (path: string, effect: "read" | "change", caller: Identity) => void;

export async function openReserved(at: { run: string; state: string; etc: string }): Promise<Reserved> {
  // Compared with resolved paths, so resolved themselves.
  const table = await Promise.all(
    rules(at).map(async (rule) => ({ ...rule, path: (await resolvePath(rule.path)).path })),
  );
  return (path, effect, caller) => {
    const hit = table.find(
      (rule) =>
        (rule.from === "everyone" || caller.kind === "agent") &&
        (rule.against === "use" || effect === "change") &&
        (isWithin(path, rule.path) || (effect === "change" && isWithin(rule.path, path))),
    );
    if (hit === undefined) return;
    throw new AiosError("PERMISSION_DENIED", {
      act: effect,
      object: path,
      reason: `${hit.path} is reserved: ${hit.why}`,
      next: "no grant opens it",
    });
  };
}

const isWithin = (path: string, folder: string) =>
  path === folder || path.startsWith(folder === "/" ? "/" : `${folder}/`);
