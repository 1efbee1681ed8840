/** The verbs that goals are said with. */

/** Those that ask for the same kind of act. One who wants a thing gone is not told how to read it, or the other way round. */
export const kindsOfActs: readonly (readonly string[])[] = [
  "clear delete destroy erase purge remove uninstall unset wipe",
  "add append create make put report save store write",
  "check display find get list log look print read report show tell",
  "allow open",
  "block close deny",
  "configure install set setup",
  "download fetch get save",
  "look monitor watch",
  "bounce restart start",
  "disable halt stop",
  "back backup copy make",
  "move rename",
  "bring install update upgrade",
  "check compare verify",
  "restore",
  "rotate",
  "kill",
].map((verbs) => verbs.split(" "));

/** Those that are of no kind. */
const others = `
alert announce apply archive assign attach build change chmod chown clean clone commit compress convert count decrypt
define detach do drop email empty enable encrypt ensure execute export expose extract fix format give grant hash hide
import inform keep let limit link load lock mail mark mirror mount notify ping post protect publish pull push query quit
reboot rebuild record register reload remember repeat replace resize retry revoke run scan schedule send serve shrink shut
sign sort switch symlink sync tag take test trigger truncate turn unlock unmount unpack upload use wait wake warn zip`;

export const acts: readonly string[] = [...new Set([...kindsOfActs.flat(), ...others.trim().split(/\s+/)])];
