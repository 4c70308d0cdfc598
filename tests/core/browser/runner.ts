/** Runs bundled test files on a page: `bundle` puts `pageTests.test` in place of `Deno.test`. */

/** The outcome of a test. */
export interface Outcome {
  readonly name: string;
  /** What went wrong; undefined for a test that passed. */
  readonly error?: string;
}

const registered: { readonly name: string; readonly body: () => unknown }[] = [];

export const pageTests = {
  test(name: string, body: () => unknown): void {
    if (typeof name !== "string" || typeof body !== "function") {
      throw new TypeError("pageTests: takes a name and a body");
    }
    registered.push({ name, body });
  },

  /** Names of the tests that there are. */
  names: (): string[] => registered.map(({ name }) => name),

  /** Runs the test with this number. */
  async run(number: number): Promise<Outcome> {
    const { name, body } = registered[number];
    try {
      await body();
      return { name };
    } catch (error) {
      return { name, error: error instanceof Error ? `${error.stack}\n${error.cause ?? ""}` : String(error) };
    }
  },
};

declare global {
  var pageTests: typeof import("./runner.ts").pageTests;
}
globalThis.pageTests = pageTests;
