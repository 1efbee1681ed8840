/**
 * The kernel is told once, by one table: links and files in shared folders, what the kernel shows of itself, BPF,
 * kexec, SYN cookies; a machine without a GPU takes no module after its start, since modules are drivers of GPUs alone
 * and carry no signatures.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { errnoOf, messageOf } from "#lib/errors";

/** Kernel settings made at each boot, by file below /proc/sys. */
export const sysctls = {
  // Links and files that others leave in folders where all may write lead nobody astray.
  "fs/protected_symlinks": 1,
  "fs/protected_hardlinks": 1,
  "fs/protected_fifos": 1,
  "fs/protected_regular": 2,
  // Where the kernel lies in memory, and what it logs, is nobody's but root's.
  "kernel/kptr_restrict": 1,
  "kernel/dmesg_restrict": 1,
  // 1 cannot be taken back until the next boot.
  "kernel/unprivileged_bpf_disabled": 1,
  "kernel/kexec_load_disabled": 1,
  "net/ipv4/tcp_syncookies": 1,
  // A cable that was pulled leads nowhere: the next interface's way counts then.
  "net/ipv4/conf/all/ignore_routes_with_linkdown": 1,
  "net/ipv4/conf/default/ignore_routes_with_linkdown": 1,
} as const;

/**
 * Only drivers of GPUs are modules, and they carry no signatures. A machine without a GPU takes none; with one, parts of its
 * driver are loaded when a program first uses it.
 */
const withoutGpu = { "kernel/modules_disabled": 1 } as const;

/** Sets them. Gives back those that could not be set, with the reason; what a kernel does not have it needs not be told. */
export function setSysctls(hasGpu: boolean, proc = "/proc"): string[] {
  return Object.entries({ ...sysctls, ...(!hasGpu && withoutGpu) }).flatMap(([name, value]) => {
    try {
      writeFileSync(join(proc, "sys", name), `${value}\n`, { flag: "r+" });
      return [];
    } catch (error) {
      return errnoOf(error) === "ENOENT" ? [] : [`${name}: ${messageOf(error)}`];
    }
  });
}
