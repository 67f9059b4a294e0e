import type { RouteRecordRaw } from "vue-router";

export const routes: RouteRecordRaw[] = [
  {
    path: "/accounts",
    name: "accounts",
    meta: { title: "Accounts" },
    component: () => import("./pages/AccountsPage.vue"),
  },
  {
    path: "/accounts/:key/sign-in",
    name: "account-sign-in",
    meta: { title: "Sign in to an account" },
    component: () => import("./pages/SignInPage.vue"),
  },
];
