import type { RouteRecordRaw } from "vue-router";

export const routes: RouteRecordRaw[] = [
  {
    path: "/sign-in",
    name: "sign-in",
    meta: { open: true, title: "Sign in" },
    component: () => import("./pages/SignInPage.vue"),
  },
];
