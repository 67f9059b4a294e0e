/** The only place that talks to the server by requests. A reply that is an error becomes an ApiError. */
import createClient from "openapi-fetch";
import type { paths } from "./schema.gen";

export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly code: string,
    readonly hint: string | null = null,
    readonly field: string | null = null,
  ) {
    super(message);
  }
}

let csrfToken: string | null = null;
let whenSignedOut: () => void = () => {};

export function setCsrfToken(token: string | null): void {
  csrfToken = token;
}

/** Called when the server says that nobody is signed in (any more). */
export function onSignedOut(act: () => void): void {
  whenSignedOut = act;
}

export const api = createClient<paths>({ baseUrl: "" });

api.use({
  onRequest({ request }) {
    if (csrfToken && request.method !== "GET") request.headers.set("X-CSRF-Token", csrfToken);
    return request;
  },
});

interface Reply<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** The data of a reply, or the ApiError it tells of. */
export async function take<T>(reply: Promise<Reply<T>>): Promise<T> {
  let answer: Reply<T>;
  try {
    answer = await reply;
  } catch {
    throw new ApiError("The server does not answer.", 0, "unreachable", "Is it running?");
  }
  if (answer.response.ok) return answer.data as T;
  const told = (answer.error as { error?: Partial<ApiError> & { message?: string } } | undefined)?.error;
  if (answer.response.status === 401 && !answer.response.url.endsWith("/api/session")) whenSignedOut();
  throw new ApiError(
    told?.message ?? `The server answered ${answer.response.status}.`,
    answer.response.status,
    told?.code ?? "error",
    told?.hint ?? null,
    told?.field ?? null,
  );
}

/** POSTs to a path that the server itself named, such as a check-list's action. */
export async function postTo(path: string): Promise<void> {
  if (!path.startsWith("/api/")) throw new ApiError(`Not a path of the API: ${path}`, 0, "bad_path");
  const headers: Record<string, string> = { "Content-Type": "application/json" };
  if (csrfToken) headers["X-CSRF-Token"] = csrfToken;
  await take(
    fetch(path, { method: "POST", headers, body: "{}" }).then(async (response) => ({
      response,
      error: response.ok ? undefined : await response.json().catch(() => undefined),
    })),
  );
}
