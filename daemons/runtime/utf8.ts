import { BinaryReader } from "@bufbuild/protobuf/wire";

/** A text field of a message, or a field whose messages have text fields, by number. */
export type TextFields = Readonly<Record<number, string | { readonly name: string; readonly fields: TextFields }>>;

const bytesType = 2;

/**
 * The name of the first field among `fields` whose bytes are no UTF-8, or undefined. Protobuf's own decoder puts U+FFFD in
 * their place, and nobody would know.
 */
export function badUtf8(message: Uint8Array, fields: TextFields): string | undefined {
  const reader = new BinaryReader(message);
  const seen = new Map<number, number>();
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    const field = fields[number];
    if (field === undefined || type !== bytesType) {
      reader.skip(type, number);
      continue;
    }
    const at = seen.get(number) ?? 0;
    seen.set(number, at + 1);
    const bytes = reader.bytes();
    if (typeof field === "string") {
      if (!isUtf8(bytes)) return field;
    } else {
      const inner = badUtf8(bytes, field.fields);
      if (inner !== undefined) return `${field.name}[${at}].${inner}`;
    }
  }
  return undefined;
}

const decoder = new TextDecoder("utf-8", { fatal: true });

function isUtf8(bytes: Uint8Array): boolean {
  try {
    decoder.decode(bytes);
    return true;
  } catch {
    return false;
  }
}
