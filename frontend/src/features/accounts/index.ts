import type { RouteRecordRaw } from "vue-router";

export const routes: RouteRecordRaw[] = [
  {
    path: "/accounts",
    name: "accounts",
    meta: { title: "Accounts" },
    component: () => import("./pages/AccountsPage.vue"),
  },
];
