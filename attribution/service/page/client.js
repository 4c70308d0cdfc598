// Asks the server for a verdict, hears its progress, and comes again when it is busy. It draws nothing.

/** The server wants a key, or another one. */
export class KeyError extends Error {}

const mostTries = 20;

/** Resolves to the answer for one file. `onProgress` takes 0 to 1. Throws an Error to show to the user, or KeyError. */
export async function attribute(file, { key, signal, onProgress }) {
  for (let tries = 1;; tries++) {
    const response = await fetch("/v1/attribute?stream=1&maps=1", {
      method: "POST",
      body: file,
      headers: { "content-type": "application/octet-stream", ...key && { authorization: `Bearer ${key}` } },
      signal,
    });
    if (response.status === 401) throw new KeyError("the key is not valid");
    if (response.status === 503 && tries < mostTries) {
      await pause(Number(response.headers.get("retry-after") ?? 1) * 1000, signal);
      continue;
    }
    if (!response.ok) throw new Error(await messageOf(response));
    for await (const { event, data } of events(response.body)) {
      if (event === "progress") onProgress(data.done);
      else if (event === "result") return data;
      else if (event === "error") throw new Error(data.error.message);
    }
    throw new Error("the connection ended before the answer");
  }
}

async function messageOf(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `the server answered ${response.status}`;
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
