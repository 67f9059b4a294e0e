import type { RouteRecordRaw } from "vue-router";

export const routes: RouteRecordRaw[] = [
  { path: "/settings", redirect: "/settings/notifications" },
  {
    path: "/settings/notifications",
    name: "notifications",
    meta: { title: "Notifications" },
    component: () => import("./pages/NotificationsPage.vue"),
  },
];
