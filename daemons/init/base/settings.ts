/** A TOML document, as far as configuration goes: tables of values and tables. */
export type Table = { readonly [key: string]: unknown };

/** `over` laid over `under`, table by table. */
export function merge(under: Table, over: Table): Table {
  const merged: Record<string, unknown> = { ...under };
  for (const [key, value] of Object.entries(over)) {
    const below = merged[key];
    merged[key] = isTable(below) && isTable(value) ? merge(below, value) : value;
  }
  return merged;
}

/** The settings of the kernel command line ("system.log_level" → "debug") as tables. `parse` reads one value's text. */
export function tablesOf(settings: ReadonlyMap<string, string>, parse: (text: string) => unknown): Table {
  let tables: Table = {};
  for (const [key, text] of settings) {
    const value = key.split(".").reduceRight<unknown>((inner, name) => ({ [name]: inner }), parse(text));
    tables = merge(tables, value as Table);
  }
  return tables;
}

function isTable(value: unknown): value is Table {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);
}
