// Holds the first load at 110 kB gzip and each further chunk at 60 kB.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

const dist = new URL("../../src/agented/web/dist", import.meta.url).pathname;
const html = readFileSync(join(dist, "index.html"), "utf8");
const size = (name) => statSync(join(dist, `${name}.gz`)).size;
const first = [...html.matchAll(/(?:src|href)="\/(assets\/[^"]+\.(?:js|css)|theme\.js)"/g)].map((match) => match[1]);
const total = first.reduce((sum, name) => sum + size(name), 0);
const rest = readdirSync(join(dist, "assets"))
  .filter((name) => /\.(js|css)$/.test(name) && !first.includes(`assets/${name}`))
  .map((name) => [name, size(`assets/${name}`)]);

console.log(`first load ${(total / 1000).toFixed(1)} kB gzip of 110`);
let wrong = total > 110_000;
for (const [name, bytes] of rest.sort((a, b) => b[1] - a[1])) {
  if (bytes > 60_000) wrong = true;
  if (bytes > 10_000) console.log(`  ${name} ${(bytes / 1000).toFixed(1)} kB`);
}
if (wrong) {
  console.error("over budget");
  process.exit(1);
}
