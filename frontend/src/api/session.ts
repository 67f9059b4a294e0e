/** Who is signed in. */
import { readonly, ref } from "vue";
import { api, setCsrfToken, take } from "./client";
import type { components } from "./schema.gen";

type Session = components["schemas"]["SessionOut"];

const current = ref<Session | null>(null);
export const session = readonly(current);

function keep(answer: Session): Session {
  current.value = answer;
  setCsrfToken(answer.csrf_token);
  return answer;
}

export async function readSession(): Promise<Session> {
  return keep(await take(api.GET("/api/session")));
}

export async function signInByLink(link: string): Promise<Session> {
  return keep(await take(api.POST("/api/session", { body: { link } })));
}

export async function signInByPassword(name: string, password: string): Promise<Session> {
  return keep(await take(api.POST("/api/session", { body: { name, password } })));
}

export async function signOut(): Promise<void> {
  await take(api.DELETE("/api/session"));
  current.value = null;
  setCsrfToken(null);
}
