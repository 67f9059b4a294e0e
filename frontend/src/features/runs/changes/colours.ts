/** Colours of code, line by line, for what is on screen. A language comes as a chunk of its own when it is first seen. */
import hljs from "highlight.js/lib/core";
import type { LanguageFn } from "highlight.js";

const LOADERS: Record<string, () => Promise<{ default: LanguageFn }>> = {
  bash: () => import("highlight.js/lib/languages/bash"),
  c: () => import("highlight.js/lib/languages/c"),
  cpp: () => import("highlight.js/lib/languages/cpp"),
  css: () => import("highlight.js/lib/languages/css"),
  go: () => import("highlight.js/lib/languages/go"),
  ini: () => import("highlight.js/lib/languages/ini"),
  java: () => import("highlight.js/lib/languages/java"),
  javascript: () => import("highlight.js/lib/languages/javascript"),
  json: () => import("highlight.js/lib/languages/json"),
  markdown: () => import("highlight.js/lib/languages/markdown"),
  php: () => import("highlight.js/lib/languages/php"),
  python: () => import("highlight.js/lib/languages/python"),
  ruby: () => import("highlight.js/lib/languages/ruby"),
  rust: () => import("highlight.js/lib/languages/rust"),
  sql: () => import("highlight.js/lib/languages/sql"),
  typescript: () => import("highlight.js/lib/languages/typescript"),
  xml: () => import("highlight.js/lib/languages/xml"),
  yaml: () => import("highlight.js/lib/languages/yaml"),
};
/** Endings of file names, by language. */
const ENDINGS: Record<string, string> = {
  bash: "sh bash zsh",
  c: "c h",
  cpp: "cc cpp cxx hpp",
  css: "css",
  go: "go",
  ini: "toml ini cfg",
  java: "java",
  javascript: "js jsx mjs cjs",
  json: "json",
  markdown: "md",
  php: "php",
  python: "py pyi",
  ruby: "rb",
  rust: "rs",
  sql: "sql",
  typescript: "ts tsx mts",
  xml: "html vue svg xml",
  yaml: "yml yaml",
};
const LANGUAGES = new Map(
  Object.entries(ENDINGS).flatMap(([name, endings]) => endings.split(" ").map((one) => [one, name])),
);
const LONGEST = 500;
const MOST_KEPT = 5000;
const asked = new Set<string>();
const kept = new Map<string, string>();

const ENTITIES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };

function plain(text: string): string {
  return text.replace(/[&<>]/g, (sign) => ENTITIES[sign] ?? sign);
}

export function languageOf(path: string): string {
  return LANGUAGES.get(/\.(\w+)$/.exec(path)?.[1]?.toLowerCase() ?? "") ?? "";
}

/** The line as safe HTML; plain until its language is there, when `loaded` is called. */
export function colour(text: string, language: string, loaded: () => void): string {
  const load = LOADERS[language];
  if (!load || text.length > LONGEST) return plain(text);
  if (!hljs.getLanguage(language)) {
    if (!asked.has(language)) {
      asked.add(language);
      void load().then((module) => {
        hljs.registerLanguage(language, module.default);
        loaded();
      });
    }
    return plain(text);
  }
  const key = `${language} ${text}`;
  let html = kept.get(key);
  if (html === undefined) {
    html = hljs.highlight(text, { language, ignoreIllegals: true }).value;
    if (kept.size >= MOST_KEPT) kept.clear();
    kept.set(key, html);
  }
  return html;
}
