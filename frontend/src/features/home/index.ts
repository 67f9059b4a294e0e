import type { RouteRecordRaw } from "vue-router";

export const routes: RouteRecordRaw[] = [
  { path: "/", name: "home", meta: { title: "Home" }, component: () => import("./pages/HomePage.vue") },
];
export const place = { name: "home", title: "Home", icon: "home", keys: "g h" } as const;
