/** What a tool call did, in few words and in full, whatever its CLI calls the arguments. */
import type { Tool } from "./conversation";
import { visible } from "@/ui/visible";

const MOST = 100_000;

function word(values: Record<string, unknown>, ...names: string[]): string {
  for (const name of names) {
    const value = values[name];
    if (typeof value === "string" && value) return visible(value.slice(0, MOST));
    if (typeof value === "number") return String(value);
    if (Array.isArray(value) && value.every((part) => typeof part === "string"))
      return visible(value.join(" ").slice(0, MOST));
  }
  return "";
}

export function pathOf(tool: Tool): string {
  const changes = tool.arguments.changes;
  if (Array.isArray(changes))
    return changes.map((one) => word((one ?? {}) as Record<string, unknown>, "path", "file")).join(", ");
  return word(tool.arguments, "file_path", "filePath", "absolute_path", "notebook_path", "path", "file");
}

export function commandOf(tool: Tool): string {
  return word(tool.arguments, "command", "cmd", "script");
}

/** One line that says what it was about. */
export function briefOf(tool: Tool): string {
  const { arguments: given } = tool;
  switch (tool.kind) {
    case "shell":
      return commandOf(tool).split("\n")[0] ?? "";
    case "edit":
      return pathOf(tool);
    case "read": {
      const from = word(given, "offset", "start_line");
      const limit = word(given, "limit", "line_count");
      return [pathOf(tool), from || limit ? `from line ${from || 1}${limit ? `, ${limit} lines` : ""}` : ""]
        .filter(Boolean)
        .join(" ");
    }
    case "search":
      return [word(given, "pattern", "query", "regex"), word(given, "path", "dir_path", "glob", "include")]
        .filter(Boolean)
        .join(" in ");
    case "web":
      return word(given, "url", "query", "prompt");
    case "task":
      return word(given, "description", "title", "prompt").split("\n")[0] ?? "";
    default:
      return word(given, "description", "query", "name", "path", "url").split("\n")[0] ?? "";
  }
}

export interface Change {
  kind: "+" | "-" | " ";
  text: string;
}

/** What an edit put in place of what. */
export function changesOf(tool: Tool): Change[] {
  const { arguments: given } = tool;
  const patch = word(given, "patchText", "patch", "diff", "input");
  if (patch) return patch.split("\n").map((line) => ({ kind: signOf(line), text: line.slice(1) }));
  const edits = Array.isArray(given.edits) ? given.edits : [given];
  return edits.flatMap((edit) => {
    const values = (edit ?? {}) as Record<string, unknown>;
    const old = word(values, "old_string", "oldString", "old_text", "oldText");
    const now = word(values, "new_string", "newString", "new_text", "newText", "content", "text", "new_source");
    return [...lines("-", old), ...lines("+", now)];
  });
}

function signOf(line: string): Change["kind"] {
  return line.startsWith("+") ? "+" : line.startsWith("-") ? "-" : " ";
}

function lines(kind: Change["kind"], text: string): Change[] {
  return text
    ? text
        .replace(/\n$/, "")
        .split("\n")
        .map((one) => ({ kind, text: one }))
    : [];
}

/** Everything it was given, where there is no better way to show it. */
export function allOf(tool: Tool): string {
  return visible(JSON.stringify(tool.arguments, null, 2).slice(0, MOST));
}
