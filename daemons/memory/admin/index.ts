/**
 * Export, backup and restore over the API.
 * The daemon's wiring alone comes in.
 */
export { memoryAdminService } from "./service.ts";
