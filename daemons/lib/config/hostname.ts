/** A machine's name. Digits alone, or after 0x, are an IPv4 address to whoever reads a web address: no certificate fits them. */
export const hostname = {
  pattern: "^(?!(\\d+|0x[0-9a-f]*)$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
  description: "a host name of lower-case letters, digits and dashes, not of digits alone",
} as const;
