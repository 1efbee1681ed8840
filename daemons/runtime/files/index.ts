/**
 * Model files on disk: their headers, their identity, their need of memory, and the library that pulls them.
 * The models' room and the calls about models come in.
 */
export { type Catalogue, type KnownModel, openCatalogue, type Places } from "./catalogue.ts";
export { type FileHashes, fileIdentity, openFileHashes } from "./file-identity.ts";
export { type ModelHeader, readModelHeader } from "./gguf.ts";
export { type Library, openLibrary } from "./library.ts";
export { modelName, modelSize } from "./model-files.ts";
export { hostBytes, layersThatFit, memoryNeed, type Need, type Sizes } from "./model-memory.ts";
