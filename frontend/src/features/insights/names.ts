import type { Account } from "@/api/types";

/** An account as people call it; a CLI's own login has no name. */
export function nameOfAccount(key: string, accounts: readonly Account[] | undefined): string {
  const known = accounts?.find((one) => one.key === key);
  if (known && !known.is_default) return known.name;
  return key.endsWith(":default") ? `${key.split(":")[0]}, own login` : key;
}
