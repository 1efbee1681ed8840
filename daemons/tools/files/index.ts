/**
 * Files as tools reach them: paths without links, handles that are held, mounts, what is the kernel's.
 * Whoever touches a file comes in: access, the pipeline and the catalogue.
 */
export {
  entriesOf,
  type Held,
  heldAttributes,
  hold,
  holdForChange,
  makeFolders,
  modifiedMsOf,
  type Ownership,
  oPath,
  openHeld,
  overwriteFile,
  putFile,
  readHeld,
  removeFile,
  removeFolders,
  setModified,
  standing,
} from "./handles.ts";
export { holdsFile, linkedFile, standingAt } from "./hard-links.ts";
export { checkContent, checkProcess } from "./kernels.ts";
export { fileSystems, isWithin, type Mount, mountAt, mounts, mountsBelow, namesOf } from "./mounts.ts";
export { type Access, type ResolvedPath, resolveEntry, resolvePath } from "./paths.ts";
