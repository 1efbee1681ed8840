/**
 * The roles of persons, from least to most: look; give goals, approve what is not critical, pause and stop; all that
 * amounts to root.
 */
export const roles = ["reader", "operator", "admin"] as const;
export type Role = (typeof roles)[number];

/** Whether `role` allows what `least` is needed for. */
export function allows(role: Role, least: Role): boolean {
  return roles.indexOf(role) >= roles.indexOf(least);
}
