import vue from "eslint-plugin-vue";
import tseslint from "typescript-eslint";
import vueParser from "vue-eslint-parser";

// The floors of the web app: `ui`, `api`, `live`, `talk` and `limits` know no feature, features do not know each other.
const noFeatures = {
  group: ["@/features/*", "@/app/*"],
  message: "ui, api and live know neither features nor the app.",
};

export default [
  { ignores: ["src/api/schema.gen.ts", "node_modules"] },
  ...vue.configs["flat/recommended"],
  {
    files: ["src/**/*.{ts,vue}", "tests/**/*.ts"],
    languageOptions: { parser: vueParser, parserOptions: { parser: tseslint.parser, sourceType: "module" } },
    rules: {
      "vue/multi-word-component-names": "off",
      "vue/max-attributes-per-line": "off",
      "vue/singleline-html-element-content-newline": "off",
      "vue/html-self-closing": "off",
      "vue/multiline-html-element-content-newline": "off",
      "vue/html-indent": "off",
      "vue/html-closing-bracket-newline": "off",
      "vue/require-default-prop": "off",
      "no-restricted-globals": ["error", { name: "fetch", message: "Only api/client calls fetch." }],
    },
  },
  { files: ["src/api/client.ts"], rules: { "no-restricted-globals": "off" } },
  {
    files: ["src/ui/**", "src/api/**", "src/live/**", "src/talk/**", "src/limits/**"],
    rules: { "no-restricted-imports": ["error", { patterns: [noFeatures] }] },
  },
  ...["home", "signin", "runs", "bots", "projects", "accounts", "insights", "settings"].map((name) => ({
    files: [`src/features/${name}/**`],
    rules: {
      "no-restricted-imports": [
        "error",
        { patterns: [{ group: ["@/features/*", `!@/features/${name}`], message: "Features do not know each other." }] },
      ],
    },
  })),
];
