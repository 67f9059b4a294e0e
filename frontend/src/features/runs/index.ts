import type { RouteRecordRaw } from "vue-router";

export const routes: RouteRecordRaw[] = [
  { path: "/runs", name: "runs", meta: { title: "Runs" }, component: () => import("./pages/RunsPage.vue") },
  { path: "/runs/new", name: "new-run", meta: { title: "New run" }, component: () => import("./pages/NewRunPage.vue") },
  { path: "/runs/:id", name: "run", meta: { title: "Run" }, component: () => import("./pages/RunPage.vue") },
];
