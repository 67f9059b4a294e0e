import type { RouteRecordRaw } from "vue-router";

export const routes: RouteRecordRaw[] = [
  {
    path: "/insights",
    name: "insights",
    meta: { title: "Insights" },
    component: () => import("./pages/InsightsPage.vue"),
  },
  {
    path: "/insights/transcripts",
    name: "transcripts",
    meta: { title: "Transcripts" },
    component: () => import("./pages/TranscriptsPage.vue"),
  },
  {
    path: "/insights/transcripts/:id",
    name: "transcript",
    meta: { title: "Transcript" },
    component: () => import("./pages/TranscriptPage.vue"),
  },
];
