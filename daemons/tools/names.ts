import { isIP } from "node:net";
import { AiosError } from "#lib/errors";
import { beginning } from "#lib/text";

/** The longest address of a page, characters: with its capability's words it still fits a grant. */
const urlLengthMax = 2048;

/** The longest host name, characters, as DNS has it. */
const hostLengthMax = 253;

/** A host or a URL in the one spelling that is compared with grants and used by the act. */
export interface ResolvedName {
  /** As the caller wrote it. */
  readonly given: string;
  readonly name: string;
}

/**
 * A host's name in lower case, without a dot at its end; an address in its shortest form (`0x7f.1` is 127.0.0.1).
 * Names are not looked up here: who may not reach a host may not ask for it either. Throws INVALID_ARGUMENT.
 */
export function resolveHost(given: string): ResolvedName {
  const bare = given.replace(/\.$/, "");
  if (isIP(bare) === 6 && !bare.includes("%")) return { given, name: hostOf(new URL(`http://[${bare}]`)) };
  // What would end the host in a URL is not part of one.
  if (bare === "" || bare.length > hostLengthMax || /[\s/?#@:\\%[\]]/.test(bare)) throw badHost(given);
  const url = URL.parse(`http://${bare}`);
  if (url === null || !isHostName(url.hostname)) throw badHost(given);
  return { given, name: url.hostname };
}

/** An http or https URL, normalized by the rules that browsers have, without its fragment. Throws INVALID_ARGUMENT. */
export function resolveUrl(given: string): ResolvedName {
  const refuse = (reason: string) =>
    new AiosError("INVALID_ARGUMENT", {
      act: "read URL",
      object: JSON.stringify(beginning(given, 200)),
      reason,
      next: "give an http or https URL such as https://example.org/page",
    });
  if (given.length > urlLengthMax) throw refuse(`longer than ${urlLengthMax} characters`);
  const url = URL.parse(given);
  if (url === null) throw refuse("it is not a URL");
  if (url.protocol !== "http:" && url.protocol !== "https:")
    throw refuse(`its scheme is ${beginning(url.protocol, 20)}`);
  if (url.username !== "" || url.password !== "") throw refuse("it holds a user name or password");
  if (isIP(hostOf(url)) === 0 && !isHostName(url.hostname)) throw refuse("its host is not a host name or an address");
  url.hash = "";
  if (url.href.length > urlLengthMax) throw refuse(`longer than ${urlLengthMax} characters when escaped`);
  return { given, name: url.href };
}

/** A URL's host as node:net has it: an IPv6 address without its brackets, a name without a dot at its end. */
export function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, "").replace(/\.$/, "");
}

const isHostName = (name: string) =>
  name.length <= hostLengthMax &&
  /^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?$/.test(name);

function badHost(given: string): AiosError {
  return new AiosError("INVALID_ARGUMENT", {
    act: "read host",
    object: JSON.stringify(beginning(given, 200)),
    reason: "it is not a host name or an IP address",
    next: "give a name such as example.org, or an address such as 192.0.2.1 or 2001:db8::1",
  });
}
