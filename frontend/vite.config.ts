import tailwindcss from "@tailwindcss/vite";
import vue from "@vitejs/plugin-vue";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const server = "http://127.0.0.1:20000";

export default defineConfig({
  plugins: [vue(), tailwindcss()],
  resolve: {
    alias: {
      "@": fileURLToPath(new URL("./src", import.meta.url)),
      // Its package.json names a module that it does not ship.
      "@xterm/headless": fileURLToPath(
        new URL("./node_modules/@xterm/headless/lib-headless/xterm-headless.mjs", import.meta.url),
      ),
    },
  },
  build: {
    outDir: "../src/agented/web/dist",
    emptyOutDir: true,
    // Everything is a file of its own: the content security policy allows no inline data but images.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  worker: { format: "es" },
  server: { port: 3000, proxy: { "/api": server, "/health": server, "/docs": server } },
  test: { environment: "happy-dom", include: ["tests/**/*.test.ts"] },
});
