/**
 * Environment variables where there are any: a page has none, and a program may be refused them.
 */

/** The value of an environment variable; undefined where it is not set, is empty, or may not be read. */
export function environmentVariable(name: string): string | undefined {
  return mayAccess(name) ? Deno.env.get(name) || undefined : undefined;
}

/** Sets an environment variable that is not set or is empty, where that is allowed. */
export function setUnlessSet(name: string, value: string): void {
  if (mayAccess(name) && !Deno.env.get(name)) Deno.env.set(name, value);
}

function mayAccess(name: string): boolean {
  return typeof Deno !== "undefined" && Deno.permissions.querySync({ name: "env", variable: name }).state === "granted";
}
