/** Changed files as a tree whose folders with one entry are one entry: `src/api`. */
import type { ChangedFile } from "@/api/types";

export interface Node {
  /** Of a folder: its path with a slash at the end; of a file: its path. */
  path: string;
  name: string;
  depth: number;
  /** Index of the file, or -1 for a folder. */
  file: number;
}

interface Folder {
  folders: Map<string, Folder>;
  files: { name: string; file: number }[];
}

export function toTree(files: readonly ChangedFile[], closed: ReadonlySet<string>, filter: string): Node[] {
  const root: Folder = { folders: new Map(), files: [] };
  const wanted = filter.trim().toLowerCase();
  files.forEach((file, index) => {
    if (wanted && !file.path.toLowerCase().includes(wanted)) return;
    const parts = file.path.split("/");
    const name = parts.pop() ?? file.path;
    let at = root;
    for (const part of parts) {
      let next = at.folders.get(part);
      if (!next) at.folders.set(part, (next = { folders: new Map(), files: [] }));
      at = next;
    }
    at.files.push({ name, file: index });
  });
  const nodes: Node[] = [];
  walk(root, "", 0);
  return nodes;

  function walk(folder: Folder, path: string, depth: number): void {
    for (const [name, inner] of folder.folders) {
      const { joined, last } = compressed(name, inner);
      const own = `${path}${joined}/`;
      nodes.push({ path: own, name: joined, depth, file: -1 });
      if (!closed.has(own)) walk(last, own, depth + 1);
    }
    for (const { name, file } of folder.files) nodes.push({ path: files[file]!.path, name, depth, file });
  }
}

function compressed(name: string, folder: Folder): { joined: string; last: Folder } {
  let joined = name;
  let last = folder;
  while (last.files.length === 0 && last.folders.size === 1) {
    const [[next, inner]] = [...last.folders] as [[string, Folder]];
    joined += `/${next}`;
    last = inner;
  }
  return { joined, last };
}
