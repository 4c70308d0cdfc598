/**
 * JSON that is checked by a schema as it is read, and JSON whose text is the same for equal values, for hashes.
 */
import * as v from "npm:valibot@1.5.0";

/** JSON without spaces and with sorted keys, so that equal values are equal texts. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, inner) => {
    if (typeof inner !== "object" || inner === null || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
  });
}

/**
 * Parses JSON text by a schema. Throws one error whose lines read `label: place: expected ..., got ...`; `check` may
 * find more, as `place: expected ..., got ...`; `Failure` is the class of the error.
 */
export function parseJson<T>(
  schema: v.GenericSchema<unknown, T>,
  text: string,
  label: string,
  check: (value: T) => string[] = () => [],
  Failure: new (message: string, options?: ErrorOptions) => Error = Error,
): T {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new Failure(`${label}: is not JSON: ${(cause as Error).message}`, { cause });
  }
  const result = v.safeParse(schema, json);
  const problems = result.success ? check(result.output) : result.issues.map(describeIssue);
  if (problems.length > 0) throw new Failure(problems.map((problem) => `${label}: ${problem}`).join("\n"));
  return result.output as T;
}

function describeIssue(issue: v.BaseIssue<unknown>): string {
  const place = v.getDotPath(issue) ?? "the whole file";
  if (issue.type === "strict_object" && issue.received === "undefined") return `${place}: is missing`;
  if (issue.expected === "never") return `${place}: is not a known field`;
  const expected = issue.kind === "schema" ? issue.expected : issue.message;
  return `${place}: expected ${expected}, got ${issue.received}`;
}
