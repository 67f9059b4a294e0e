/** Which rows of one height are on screen: the window of a list that may be long. */
import { computed, onBeforeUnmount, ref, watch, type ComputedRef, type Ref } from "vue";

export interface Window {
  first: ComputedRef<number>;
  last: ComputedRef<number>;
  height: Ref<number>;
  width: Ref<number>;
  top: Ref<number>;
  scrolled: () => void;
  /** Brings a row to the top, or `above` pixels below it. */
  show: (row: number, above?: number) => void;
}

export function useRows(box: Ref<HTMLElement | undefined>, px: number, count: () => number, margin = 12): Window {
  const top = ref(0);
  const height = ref(600);
  const width = ref(800);
  const first = computed(() => Math.max(0, Math.min(count(), Math.floor(top.value / px)) - margin));
  const last = computed(() => Math.min(count(), Math.ceil((top.value + height.value) / px) + margin));
  let observer: ResizeObserver | undefined;

  function scrolled(): void {
    if (box.value) top.value = box.value.scrollTop;
  }

  function show(row: number, above = 0): void {
    if (!box.value) return;
    box.value.scrollTop = Math.max(0, row * px - above);
    scrolled();
  }

  watch(
    box,
    (now) => {
      observer?.disconnect();
      if (!now) return;
      observer = new ResizeObserver(() => {
        height.value = now.clientHeight;
        width.value = now.clientWidth;
      });
      observer.observe(now);
      top.value = now.scrollTop;
    },
    { flush: "post", immediate: true },
  );
  onBeforeUnmount(() => observer?.disconnect());
  return { first, last, height, width, top, scrolled, show };
}
