/** What can be done with projects, from either page. */
import { useQueryClient } from "@tanstack/vue-query";
import { ref } from "vue";
import { api, take } from "@/api/client";
import { session } from "@/api/session";
import { say, sayError } from "@/ui/toasts";

const AT_ONCE = 4;

export function mayAdmin(): boolean {
  return session.value?.user?.role === "admin";
}

export function useSync() {
  const client = useQueryClient();
  const asked = ref(new Set<string>());
  const progress = ref("");

  function mark(id: string, on: boolean): void {
    const next = new Set(asked.value);
    if (on) next.add(id);
    else next.delete(id);
    asked.value = next;
  }

  /** Syncs one project; false when the server could not be asked. What the sync met stands in its row. */
  async function sync(id: string): Promise<boolean> {
    if (asked.value.has(id)) return true;
    mark(id, true);
    try {
      await take(api.POST("/api/projects/{project_id}/sync", { params: { path: { project_id: id } } }));
      return true;
    } catch (error) {
      sayError(error);
      return false;
    } finally {
      mark(id, false);
      void client.invalidateQueries({ queryKey: ["projects"] });
      void client.invalidateQueries({ queryKey: ["project", id] });
    }
  }

  async function syncAll(ids: string[]): Promise<void> {
    const todo = [...ids];
    let done = 0;
    progress.value = `Syncing 0 of ${ids.length}`;
    const work = async (): Promise<void> => {
      for (let id = todo.shift(); id; id = todo.shift()) {
        if (!(await sync(id))) todo.length = 0;
        else done += 1;
        progress.value = `Syncing ${done} of ${ids.length}`;
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    progress.value = "";
    if (done === ids.length) say(`${done} synced.`);
  }

  return { asked, progress, sync, syncAll };
}
