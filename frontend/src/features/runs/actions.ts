/** What can be done with a run, from any page that shows one. */
import { ref } from "vue";
import { useRouter } from "vue-router";
import { api, take } from "@/api/client";
import type { Execution } from "@/api/types";
import { say, sayError } from "@/ui/toasts";

export function useRunActions() {
  const router = useRouter();
  const busy = ref("");

  async function doing(what: string, act: () => Promise<void>): Promise<void> {
    busy.value = what;
    try {
      await act();
    } catch (error) {
      sayError(error);
    } finally {
      busy.value = "";
    }
  }

  function cancel(id: string): Promise<void> {
    return doing("cancel", async () => {
      await take(
        api.POST("/api/executions/{execution_id}/cancel", { params: { path: { execution_id: id } }, body: {} }),
      );
    });
  }

  /** What waits for a time goes on now. */
  function resume(id: string): Promise<void> {
    return doing("resume", async () => {
      await take(api.POST("/api/executions/{execution_id}/resume", { params: { path: { execution_id: id } } }));
    });
  }

  function runAgain(id: string): Promise<void> {
    return doing("retry", async () => {
      const made = await take(
        api.POST("/api/executions/{execution_id}/retry", { params: { path: { execution_id: id } } }),
      );
      say("Started anew.");
      await router.push(`/runs/${made.id}`);
    });
  }

  function change(run: Pick<Execution, "id">): void {
    void router.push(`/runs/new?from=${run.id}`);
  }

  return { busy, cancel, resume, runAgain, change };
}
