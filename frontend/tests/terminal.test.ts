import { describe, expect, it } from "vitest";
import { bytesOf, pasted, type Pressed } from "@/features/accounts/terminal/keys";
import { isOffered, Screen } from "@/features/accounts/terminal/screen";

const press = (key: string, more: Partial<Pressed> = {}): Pressed => ({
  key,
  ctrlKey: false,
  altKey: false,
  metaKey: false,
  shiftKey: false,
  ...more,
});
const bytes = (text: string) => new TextEncoder().encode(text);

async function shown(text: string, columns = 40): Promise<Screen> {
  const screen = new Screen(columns, 10, () => {});
  await screen.write(bytes(text));
  return screen;
}

describe("keys", () => {
  it("sends what a terminal sends", () => {
    expect(bytesOf(press("Enter"), false)).toBe("\r");
    expect(bytesOf(press("ArrowUp"), false)).toBe("\x1b[A");
    expect(bytesOf(press("ArrowUp"), true)).toBe("\x1bOA");
    expect(bytesOf(press("c", { ctrlKey: true }), false)).toBe("\x03");
    expect(bytesOf(press("Backspace"), false)).toBe("\x7f");
  });

  it("leaves to the browser what is the browser's, and traps nobody", () => {
    for (const key of [press("Tab"), press("a"), press("v", { ctrlKey: true }), press("c", { metaKey: true })])
      expect(bytesOf(key, false)).toBeNull();
  });

  it("pastes lines as returns and lets no pasted text leave its brackets", () => {
    expect(pasted("a\r\nb\nc", false)).toBe("a\rb\rc");
    expect(pasted("x\x1b[201~rm", true)).toBe("\x1b[200~x[201~rm\x1b[201~");
  });
});

describe("screen", () => {
  it("draws text in the colours that were asked for", async () => {
    const screen = await shown("plain \x1b[1;31mbad\x1b[0m \x1b[38;2;20;200;30mgreen\x1b[0m \x1b[7mchosen\x1b[0m");
    expect(screen.rows()[0]).toEqual([
      { text: "plain ", look: "" },
      { text: "bad", look: "ansi-red-fg font-semibold" },
      { text: " ", look: "" },
      { text: "green", look: "ansi-green-fg" },
      { text: " ", look: "" },
      { text: "chosen", look: "bg-ink text-page" },
    ]);
  });

  it("links an address that was wrapped at the edge, whole in each of its rows", async () => {
    const address = `https://auth.example.test/login?state=${"0123456789".repeat(6)}`;
    const screen = await shown(`Open ${address}.\r\nthen`);
    const linked = screen.rows().flatMap((row) => row.filter((part) => part.href));
    expect(linked.length).toBe(3);
    expect(new Set(linked.map((part) => part.href))).toEqual(new Set([address]));
    expect(linked.map((part) => part.text).join("")).toBe(address);
  });

  it("offers only addresses that are safe to open", () => {
    expect(isOffered("https://claims.example.test/login?a=1")).toBe(true);
    for (const address of [
      "http://example.test/",
      "https://me@example.test/",
      "https://127.0.0.1/",
      "https://localhost/",
      "https://[::1]/",
      "javascript:alert(1)",
      "https://",
    ])
      expect(isOffered(address)).toBe(false);
  });

  it("answers a program that asks where its cursor is", async () => {
    const said: string[] = [];
    const screen = new Screen(40, 10, (text) => said.push(text));
    await screen.write(bytes("ab\x1b[6n"));
    expect(said).toEqual(["\x1b[1;3R"]);
    expect(screen.cursor).toEqual({ row: 0, column: 2 });
  });

  it("keeps rows that scrolled away, up to a bound", async () => {
    const screen = await shown(Array.from({ length: 2000 }, (_, n) => `line ${n}\r\n`).join(""));
    const text = screen.text();
    expect(text.length).toBeLessThanOrEqual(510);
    expect(text.at(-2)).toBe("line 1999");
  });
});
