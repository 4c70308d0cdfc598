/**
 * The part of node:assert/strict that tests of devices use, for test files on a page. An import map puts it in place of
 * the original.
 */

export class AssertionError extends Error {
  override name = "AssertionError";
}

function text(value: unknown): string {
  if (value instanceof Error) return String(value);
  if (typeof value === "function") return value.name;
  return String(ArrayBuffer.isView(value) || typeof value === "object" ? JSON.stringify(value) : value).slice(0, 300);
}

function demand(holds: boolean, message: string | Error | undefined, otherwise: () => string): void {
  if (holds) return;
  throw message instanceof Error ? message : new AssertionError(message ?? otherwise());
}

/** Equal in type and contents; numbers as by Object.is. */
function same(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  if (ArrayBuffer.isView(a) && ArrayBuffer.isView(b)) {
    const [x, y] = [a as Float32Array, b as Float32Array];
    if (x.length !== y.length) return false;
    for (let i = 0; i < x.length; i++) if (!Object.is(x[i], y[i])) return false;
    return true;
  }
  if (a instanceof Map && b instanceof Map) return same([...a], [...b]);
  if (a instanceof Set && b instanceof Set) return same([...a], [...b]);
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  const [x, y] = [a as Record<string, unknown>, b as Record<string, unknown>];
  return keys.every((key) => Object.hasOwn(y, key) && same(x[key], y[key]));
}

type Expected = RegExp | ((error: never) => unknown) | object | undefined;

/** Throws unless the error is the expected one: by its text, a class, a check, or some of its fields. */
function checkError(error: unknown, expected: Expected): void {
  if (expected === undefined) return;
  if (expected instanceof RegExp) {
    demand(expected.test(String(error)), undefined, () => `${text(error)} does not match ${expected}`);
  } else if (typeof expected === "function") {
    if (expected === Error || expected.prototype instanceof Error) {
      demand(error instanceof (expected as ErrorConstructor), undefined, () => `${text(error)} is no ${expected.name}`);
    } else demand((expected as (error: unknown) => unknown)(error) === true, undefined, () => `got ${text(error)}`);
  } else {
    for (const [name, value] of Object.entries(expected)) {
      const got = (error as Record<string, unknown>)[name];
      const fits = value instanceof RegExp ? value.test(String(got)) : same(got, value);
      demand(fits, undefined, () => `the error's ${name} is ${text(got)}, expected ${text(value)}`);
    }
  }
}

const assert = {
  AssertionError,
  ok: (value: unknown, message?: string) => demand(!!value, message, () => `expected a true value, got ${text(value)}`),
  equal: (got: unknown, expected: unknown, message?: string) =>
    demand(Object.is(got, expected), message, () => `expected ${text(expected)}, got ${text(got)}`),
  notEqual: (got: unknown, expected: unknown, message?: string) =>
    demand(!Object.is(got, expected), message, () => `expected anything but ${text(expected)}`),
  deepEqual: (got: unknown, expected: unknown, message?: string) =>
    demand(same(got, expected), message, () => `expected ${text(expected)}, got ${text(got)}`),
  notDeepEqual: (got: unknown, expected: unknown, message?: string) =>
    demand(!same(got, expected), message, () => `expected anything but ${text(expected)}`),
  match: (got: string, pattern: RegExp, message?: string) =>
    demand(pattern.test(got), message, () => `${text(got)} does not match ${pattern}`),
  fail: (message?: string): never => {
    throw new AssertionError(message ?? "failed");
  },
  throws: (body: () => unknown, expected?: Expected, message?: string): void => {
    try {
      body();
    } catch (error) {
      checkError(error, expected);
      return;
    }
    throw new AssertionError(message ?? "expected an error, none was thrown");
  },
  rejects: async (body: Promise<unknown> | (() => unknown), expected?: Expected, message?: string): Promise<void> => {
    try {
      await (typeof body === "function" ? body() : body);
    } catch (error) {
      checkError(error, expected);
      return;
    }
    throw new AssertionError(message ?? "expected a rejection, there was none");
  },
};

export default assert;
