// Asks the server for a verdict, hears its progress, and comes again when it is busy or cannot be reached. It draws
// nothing.

/** The server wants a key, or another one. */
export class KeyError extends Error {}

/** The server answered with an error: `code` is its stable name. */
export class AnswerError extends Error {
  constructor({ code, message }) {
    super(message);
    this.code = code;
  }
}

/** Codes of errors that may pass by themselves: asking again makes sense. */
export const passing = [
  "network",
  "busy",
  "overload",
  "deadline",
  "internal",
  "starting",
  "draining",
  "failed",
  "slow-body",
];

const mostTries = 20;
/** Milliseconds before the next try without a connection, at first and at most. */
const firstPause = 1000, longestPause = 15_000;
/** Tries without a connection: after about a minute, the user decides. */
const mostLost = 8;

/**
 * Resolves to the answer for one file. `onProgress` takes 0 to 1, `onLost` is told of every try that had no connection.
 * Throws AnswerError or KeyError, or what `signal` was aborted with.
 */
export async function attribute(file, { key, signal, onProgress, onLost }) {
  let lost = 0;
  for (let tries = 1;; tries++) {
    try {
      const answer = await ask(file, { key, signal, onProgress, patient: tries < mostTries });
      if (answer.pause === undefined) return answer;
      await pause(answer.pause, signal);
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (error instanceof AnswerError || error instanceof KeyError) throw error;
      if (++lost >= mostLost) throw new AnswerError({ code: "network", message: "the server cannot be reached" });
      onLost(lost);
      await connection(Math.min(longestPause, firstPause * 2 ** (lost - 1)), signal);
    }
  }
}

/** The answer, or {pause} in milliseconds if the server is busy. What fetch throws means that there is no connection. */
async function ask(file, { key, signal, onProgress, patient }) {
  const response = await fetch("/v1/attribute?stream=1&maps=1", {
    method: "POST",
    body: file,
    headers: { "content-type": "application/octet-stream", ...key && { authorization: `Bearer ${key}` } },
    signal,
  });
  if (response.status === 401) throw new KeyError("the key is not valid");
  if (response.status === 503 && patient) return { pause: Number(response.headers.get("retry-after") ?? 1) * 1000 };
  if (!response.ok) throw new AnswerError(await errorOf(response));
  for await (const { event, data } of events(response.body)) {
    if (event === "progress") onProgress(data.done);
    else if (event === "result") return data;
    else if (event === "error") throw new AnswerError(data.error);
  }
  throw new Error("the connection ended before the answer");
}

/** What the server says of itself; undefined if it cannot be asked. Throws KeyError. */
export async function models(key) {
  const response = await fetch("/v1/models", { headers: key ? { authorization: `Bearer ${key}` } : {} });
  if (response.status === 401) throw new KeyError("the server wants a key");
  return response.ok ? await response.json() : undefined;
}

async function errorOf(response) {
  try {
    return (await response.json()).error;
  } catch {
    return { code: `status-${response.status}`, message: `the server answered ${response.status}` };
  }
}

/** Server-sent events of a body, their data parsed. */
async function* events(body) {
  let rest = "";
  for await (const text of chunks(body.pipeThrough(new TextDecoderStream()))) {
    rest += text;
    for (let end = rest.indexOf("\n\n"); end >= 0; end = rest.indexOf("\n\n")) {
      const fields = Object.fromEntries(rest.slice(0, end).split("\n").map((line) => line.split(/: ?(.*)/s, 2)));
      rest = rest.slice(end + 2);
      if (fields.data) yield { event: fields.event, data: JSON.parse(fields.data) };
    }
  }
}

/** Not every browser can iterate a stream. */
async function* chunks(stream) {
  const reader = stream.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}

/** Waits, but not longer than until the browser is online again. */
function connection(ms, signal) {
  const online = new Promise((resolve) => addEventListener("online", resolve, { once: true }));
  return Promise.race([pause(ms, signal), online]);
}
