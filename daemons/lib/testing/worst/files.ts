import { above, admin, type Inputs, inNone, malformed, nobody, nothing, type Tricks, unknown } from "./words.ts";

/** Files by their paths. */
export const fsInputs = ({ secrets, changed, removed, readable, packed, state, etc, work }: Tricks): Inputs => ({
  "fs.read": readable((path) => ({ path })),
  "fs.write": [...changed((path) => ({ path, content: "walk" })), ...removed((path) => ({ path, content: "walk" }))],
  "fs.append": changed((path) => ({ path, content: "walk" })),
  "fs.list": [...packed((path) => ({ path })).slice(1), nothing({ path: "/root" })],
  "fs.stat": [nobody({ path: `${state}/ledger` }), nothing({ path: "/root" })],
  "fs.delete": inNone(removed((path) => ({ path, recursive: true }))).concat(
    removed((path) => ({ path, recursive: true, permanent: true })).map(({ input }) => admin(input)),
  ),
  "fs.mkdir": changed((path) => ({ path: `${path}/below`, recursive: true })),
  "fs.move": [
    ...changed((destination) => ({ source: `${work}/mine`, destination, overwrite: true })),
    ...inNone(removed((source) => ({ source, destination: `${work}/taken` }))),
  ],
  "fs.copy": [
    ...changed((destination) => ({ source: `${work}/mine`, destination, overwrite: true })),
    ...packed((source) => ({ source, destination: `${work}/all` })),
    ...secrets.map((source) => nobody({ source, destination: `${work}/secret` })),
    admin({ source: "/etc/shadow", destination: `${work}/secret` }),
    nothing({ source: "/dev/null", destination: `${work}/device` }),
  ],
  "fs.chmod": [
    ...["4755", "2755", "6777", "u+s"].map((mode) => malformed({ path: `${work}/mine`, mode })),
    ...removed((path) => ({ path, mode: "0777", recursive: true })),
    ...above.map((path) => nobody({ path, mode: "0777" })).slice(0, 2),
  ],
  "fs.chown": [
    ...removed((path) => ({ path, uid: 65_534, gid: 65_534, recursive: true })),
    nobody({ path: "/", uid: 1, gid: 1 }),
  ],
  "fs.symlink": [
    ...changed((path) => ({ path, target: `${work}/mine` })),
    ...secrets.map((target) => nobody({ path: `${work}/link`, target })),
  ],
  "fs.search": [
    ...packed((directory) => ({ directory, content: "SECRET" })).slice(1),
    nothing({ directory: work, content: "SECRET" }),
    nothing({ directory: state, content: "SECRET" }),
    nothing({ directory: etc, content: "SECRET" }),
  ],
  "fs.disk_usage": [nobody({ path: `${state}/console` }), nothing({ path: work })],
});

/** Copies, archives and volumes. */
export const keptInputs = ({ secrets, changed, packed, plain, run, state, etc, work }: Tricks): Inputs => ({
  "backup.create": [
    ...packed((path) => ({ path })),
    ...secrets.map((path) => nobody({ path })),
    admin({ path: "/etc/shadow" }),
  ],
  "backup.list": plain,
  "backup.restore": changed((destination) => ({ id: unknown, destination })),
  "backup.remove": [admin({ id: unknown })],
  "storage.list": plain,
  "storage.usage": plain,
  "storage.clean": [nothing({}), admin({ undo_copies: true })],
  "storage.mount": changed((path) => ({ path, type: "tmpfs" })),
  "storage.unmount": [
    ...["/", "/var", "/proc", "/sys", "/dev", run].map((path) => nobody({ path })),
    ...["/usr", "/etc", etc, state].map((path) => (path === state ? nobody({ path }) : admin({ path }))),
  ],
  "storage.mkfs": [admin({ device: "/dev/sda", type: "ext4", erase: true })],
  "storage.snapshot": [
    ...packed((path) => ({ path, archive: `${work}/all.tar.gz` })),
    admin({ path: work, archive: `${etc}/security/x.tar.gz` }),
  ],
  "storage.restore": [
    ...changed((path) => ({ archive: `${work}/foreign.tar.gz`, path })),
    // An archive that this machine did not make: it would put a program with root's rights.
    nothing({ archive: `${work}/foreign.tar.gz`, path: `${work}/unpacked` }),
  ],
});

/** Repositories that would have git do more. */
export const gitInputs = ({ folders, repository, gitChange, gitRead, etc, work }: Tricks): Inputs => ({
  "git.status": gitRead,
  "git.log": [...gitRead, malformed({ path: repository, revision: "--output=/etc/aios-walk" })],
  "git.diff": [...gitRead, malformed({ path: repository, from: "--output=/etc/aios-walk" })],
  "git.init": gitChange().slice(1),
  "git.clone": [
    ...folders.map((url) => nobody({ url, path: `${work}/clone` })),
    admin({ url: `${etc}/security`, path: `${work}/clone` }),
    admin({ url: repository, path: "/usr/lib/aios-walk" }),
    malformed({ url: "ext::sh -c id", path: `${work}/clone` }),
    malformed({ url: "--upload-pack=id", path: `${work}/clone` }),
  ],
  "git.add": gitChange({ files: ["link-to-key", "mine"] }),
  "git.commit": gitChange({ message: `${work}/mine` }),
  "git.branch": [...gitChange({ action: "switch", name: "evil" }), ...gitChange({ action: "create", name: "walk" })],
  "git.push": gitChange({ remote: "protected" }),
  "git.pull": gitChange({ remote: "protected" }),
});
