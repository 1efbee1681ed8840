/** Tools of firewall: rules of this machine, kept and applied by nft. For the catalogue. */
export { firewallTools } from "./rules.ts";
