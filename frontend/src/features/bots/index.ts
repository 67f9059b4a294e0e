import type { RouteRecordRaw } from "vue-router";

export const routes: RouteRecordRaw[] = [
  { path: "/bots", name: "bots", meta: { title: "Bots" }, component: () => import("./pages/BotsPage.vue") },
  {
    path: "/bots/gallery",
    name: "gallery",
    meta: { title: "Ready-made bots" },
    component: () => import("./pages/GalleryPage.vue"),
  },
  { path: "/bots/new", name: "new-bot", meta: { title: "New bot" }, component: () => import("./pages/BotPage.vue") },
  { path: "/bots/:name", name: "bot", meta: { title: "Bot" }, component: () => import("./pages/BotPage.vue") },
  {
    path: "/schedules",
    name: "schedules",
    meta: { title: "Schedules" },
    component: () => import("./pages/SchedulesPage.vue"),
  },
  {
    path: "/deliveries",
    name: "deliveries",
    meta: { title: "Deliveries" },
    component: () => import("./pages/DeliveriesPage.vue"),
  },
  {
    path: "/reports/:project/:bot/:report",
    name: "report",
    meta: { title: "Report" },
    component: () => import("./pages/ReportPage.vue"),
  },
];
