/** For tests: a small root that apt and dpkg of the host work on, and archives of packages made here. */
import { execFileSync } from "node:child_process";
import { hash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { PackageWorld } from "../catalogue/pkg/apt.ts";

interface DebSpec {
  readonly name: string;
  readonly version: string;
  readonly depends?: string;
  readonly summary?: string;
  /** Path → content; a path below /etc is a configuration file. */
  readonly files?: Readonly<Record<string, string>>;
  /** Shell commands that run when it has been installed. */
  readonly postinst?: string;
}

/** Writes `text` to `path`, with its folders. */
function put(path: string, text: string, mode = 0o644): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text, { mode });
}

/** Makes a .deb of `spec` in `archive`. */
export function makeDeb(archive: string, spec: DebSpec): void {
  const { name, version, depends, summary = `the package ${name}`, files = {}, postinst } = spec;
  const tree = `${archive}/.build`;
  for (const [path, content] of Object.entries(files)) put(`${tree}${path}`, content);
  const control = [
    ...[`Package: ${name}`, `Version: ${version}`, "Architecture: all", "Maintainer: T <t@example.invalid>"],
    ...(depends === undefined ? [] : [`Depends: ${depends}`]),
    ...[`Description: ${summary}`, " Its long description.", ""],
  ];
  put(`${tree}/DEBIAN/control`, control.join("\n"));
  const conffiles = Object.keys(files).filter((path) => path.startsWith("/etc/"));
  if (conffiles.length > 0) put(`${tree}/DEBIAN/conffiles`, `${conffiles.join("\n")}\n`);
  if (postinst !== undefined) put(`${tree}/DEBIAN/postinst`, `#!/bin/sh\nset -e\n${postinst}\n`, 0o755);
  const argv = ["--root-owner-group", "--build", tree, `${archive}/${name}_${version.replace(":", "%3a")}_all.deb`];
  execFileSync("dpkg-deb", argv, { stdio: "ignore" });
  rmSync(tree, { recursive: true });
}

/** Writes the lists of an archive anew. `label` is what apt calls it. */
export function indexArchive(archive: string, label: string): void {
  const debs = readdirSync(archive).filter((name) => name.endsWith(".deb"));
  const stanzas = debs.map((file) => {
    const content = readFileSync(`${archive}/${file}`);
    const control = execFileSync("dpkg-deb", ["--field", `${archive}/${file}`], { encoding: "utf8" }).trimEnd();
    return `${control}\nFilename: ./${file}\nSize: ${content.length}\nSHA256: ${hash("sha256", content)}\n`;
  });
  const packages = stanzas.join("\n");
  writeFileSync(`${archive}/Packages`, packages);
  const release = [`Origin: ${label}`, `Label: ${label}`, "Suite: stable", "Version: 13", "SHA256:"];
  writeFileSync(
    `${archive}/Release`,
    `${release.join("\n")}\n ${hash("sha256", packages)} ${Buffer.byteLength(packages)} Packages\n`,
  );
}

/** An empty root with a shell, whose apt knows the archives. */
export function makeRoot(root: string, archives: readonly string[]): PackageWorld {
  for (const folder of ["lib/dpkg/info", "lib/dpkg/updates", "lib/apt/lists/partial", "cache/apt/archives/partial"]) {
    mkdirSync(`${root}/var/${folder}`, { recursive: true });
  }
  for (const folder of ["var/log/apt", "tmp", "var/tmp", "etc/apt/apt.conf.d", "etc/apt/preferences.d"])
    mkdirSync(`${root}/${folder}`, { recursive: true });
  put(`${root}/var/lib/dpkg/status`, "");
  put(`${root}/usr/sbin/policy-rc.d`, "#!/bin/sh\nexit 101\n", 0o755);
  put(`${root}/etc/os-release`, 'VERSION_CODENAME="trixie"\n');
  put(`${root}/etc/apt/sources.list`, archives.map((path) => `deb [trusted=yes] file:${path} ./\n`).join(""));
  const libraries = execFileSync("ldd", ["/bin/sh"], { encoding: "utf8" }).matchAll(/(\/\S+) \(0x/g);
  for (const path of ["/bin/sh", ...[...libraries].map(([, library = ""]) => library)]) {
    mkdirSync(dirname(`${root}${path}`), { recursive: true });
    if (!existsSync(`${root}${path}`)) copyFileSync(path, `${root}${path}`);
  }
  const settings = {
    Dir: root,
    "Dir::State::status": `${root}/var/lib/dpkg/status`,
    "Dir::Bin::methods": "/usr/lib/apt/methods",
    "Dir::Bin::dpkg": "/usr/bin/dpkg",
    "Dir::Bin::solvers": "/usr/lib/apt/solvers",
    "APT::Architecture": "amd64",
    "DPkg::Options::": `--root=${root}`,
  };
  const config = Object.entries(settings).map(([name, value]) => `${name} "${value}";\n`);
  put(`${root}/apt.conf`, config.join(""));
  const env = { APT_CONFIG: `${root}/apt.conf`, DPKG_ROOT: root, DPKG_ADMINDIR: `${root}/var/lib/dpkg` };
  return { root, env };
}
