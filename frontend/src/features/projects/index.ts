import type { RouteRecordRaw } from "vue-router";

export const routes: RouteRecordRaw[] = [
  {
    path: "/projects",
    name: "projects",
    meta: { title: "Projects" },
    component: () => import("./pages/ProjectsPage.vue"),
  },
  {
    path: "/projects/:id",
    name: "project",
    meta: { title: "Project" },
    component: () => import("./pages/ProjectPage.vue"),
  },
];
