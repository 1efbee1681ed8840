import { errnoOf } from "#lib/errors";
import { openLibc } from "#lib/linux/libc";

/** A file's extended attributes, such as an access list: base64 by name. */
export type Attributes = Readonly<Record<string, string>>;

const signatures = {
  listxattr: { arguments: ["string", "buffer", "uint64"], return: "int64" },
  getxattr: { arguments: ["string", "string", "buffer", "uint64"], return: "int64" },
  setxattr: { arguments: ["string", "string", "buffer", "uint64", "int32"], return: "int32" },
} as const;

/** As the kernel has it, of the list of names and of one value. */
const sizeMaxBytes = 65_536;

let opened: ReturnType<typeof openLibc<typeof signatures>> | undefined;

/** Loaded by the first file that is replaced: no start needs it. */
function libc() {
  opened ??= openLibc(signatures);
  return opened;
}

/** The extended attributes of the file at `path`; none where its file system keeps none. */
export function attributesOf(path: string): Attributes {
  const names = read(path, (buffer) => libc().libc.listxattr(path, buffer, BigInt(buffer.length)));
  const all = names
    .toString("utf8")
    .split("\0")
    .filter((name) => name !== "")
    .map((name) => {
      const value = read(path, (buffer) => libc().libc.getxattr(path, name, buffer, BigInt(buffer.length)));
      return [name, value.toString("base64")] as const;
    });
  return Object.fromEntries(all);
}

const buffer = Buffer.alloc(sizeMaxBytes);

function read(path: string, call: (buffer: Buffer) => bigint | number): Buffer {
  const length = Number(call(buffer));
  try {
    libc().check(length, `read the attributes of ${path}`);
  } catch (error) {
    if (errnoOf(error) === "ENOTSUP") return Buffer.alloc(0);
    throw error;
  }
  return Buffer.from(buffer.subarray(0, length));
}

/** Sets attributes of the file at `path`. */
export function setAttributes(path: string, attributes: Attributes): void {
  for (const [name, text] of Object.entries(attributes)) {
    const value = Buffer.from(text, "base64");
    libc().check(libc().libc.setxattr(path, name, value, BigInt(value.length), 0), `set ${name} of ${path}`);
  }
}

/** The rights of a program by its file's attributes: the kernel takes them away when another content is written. */
const rights = "security.capability";

/** The attributes that outlive another content. */
export function keptAttributes({ [rights]: _, ...kept }: Attributes): Attributes {
  return kept;
}
