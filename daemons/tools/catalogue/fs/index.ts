/** Tools of fs: files and folders, read, changed and searched. For the catalogue. */
import type { Protection } from "../../access/index.ts";
import type { Tool } from "../../tool.ts";
import { append } from "./append.ts";
import { mkdir, symlink } from "./make.ts";
import { copy, move } from "./move-copy.ts";
import { changeMode, changeOwner } from "./ownership.ts";
import { list, read, stat } from "./reads.ts";
import { remove } from "./remove.ts";
import { diskUsage, searchTool } from "./search.ts";
import { write } from "./write.ts";

interface FsWorld {
  /** What a search passes over. */
  readonly protection: Protection;
}

export const fsTools = ({ protection }: FsWorld): readonly Tool[] => [
  read,
  write,
  list,
  stat,
  append,
  remove,
  mkdir,
  move,
  copy,
  changeMode,
  changeOwner,
  symlink,
  searchTool(protection),
  diskUsage,
];
