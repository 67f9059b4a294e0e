import { createRouter, createWebHistory } from "vue-router";
import { ApiError, onSignedOut } from "@/api/client";
import { readSession, session } from "@/api/session";
import { routes as accounts } from "@/features/accounts";
import { routes as bots } from "@/features/bots";
import { routes as home } from "@/features/home";
import { routes as insights } from "@/features/insights";
import { routes as projects } from "@/features/projects";
import { routes as runs } from "@/features/runs";
import { routes as settings } from "@/features/settings";
import { routes as signin } from "@/features/signin";

export const router = createRouter({
  history: createWebHistory(),
  routes: [
    ...home,
    ...bots,
    ...projects,
    ...accounts,
    ...insights,
    ...runs,
    ...settings,
    ...signin,
    ...(import.meta.env.DEV
      ? [{ path: "/dev/ui", meta: { title: "Parts", open: true }, component: () => import("./UiPage.vue") }]
      : []),
    {
      path: "/:rest(.*)*",
      name: "missing",
      meta: { title: "Not found" },
      component: () => import("./MissingPage.vue"),
    },
  ],
});

router.beforeEach(async (to) => {
  if (to.meta.open) return true;
  try {
    const who = session.value ?? (await readSession());
    if (who.user) return true;
  } catch (error) {
    // A server that is away is no reason to sign in again: the page says so itself.
    if (!(error instanceof ApiError) || error.status !== 401) return true;
  }
  return { name: "sign-in", query: to.fullPath === "/" ? {} : { next: to.fullPath } };
});

router.afterEach((to) => {
  document.title = to.meta.title ? `${String(to.meta.title)} · Agented` : "Agented";
});

onSignedOut(() => {
  const at = router.currentRoute.value;
  if (!at.meta.open) void router.replace({ name: "sign-in", query: { next: at.fullPath } });
});
