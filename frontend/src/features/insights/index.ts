import type { RouteRecordRaw } from "vue-router";

export const routes: RouteRecordRaw[] = [
  {
    path: "/insights",
    name: "insights",
    meta: { title: "Insights" },
    component: () => import("./pages/InsightsPage.vue"),
  },
];
