// The list of images: what is in it, which of them are under way, and what came of each. Views draw it (overview.js,
// detail.js), store.js keeps it.
import { AnswerError, attribute, KeyError, passing } from "./client.js";
import * as store from "./store.js";
import { thumbnail } from "./pictures.js";

/** Requests at once: enough to fill a batch, few enough to leave room for others. */
const atOnce = 4;

/**
 * Each item: id, name, file, size, added (milliseconds), thumb (a blob, or null), state (`waiting`, `running`, `done` or
 * `failed`), progress from 0 to 1, lost (tries without a connection), then the answer (image, modelSet, server) or its
 * error and code.
 */
export const items = [];
let nextId = 1, running = 0, key = "", wantsKey = false, kept = false;
/** What the server says of itself, which goes with every answer: reports show it. */
let server;

/** Views that want to know: `change(item)` when the list or an item changed, `progress(item)`, `key()` and `lost(text)`. */
const watchers = [];
export const watch = (watcher) => watchers.push(watcher);
const tell = (what, value) => watchers.forEach((watcher) => watcher[what]?.(value));

export const byId = (id) => items.find((item) => item.id === id);
export const isFinished = ({ state }) => state === "done" || state === "failed";
export const canRetry = ({ state, code }) => state === "failed" && passing.includes(code);
export const setServer = (models) => server = models;
export const isKept = () => kept;

/** Opens the store and takes up what it has. Nothing starts before `begin`. */
export async function open() {
  kept = await store.openStore();
  if (!kept) return;
  for (const item of await store.loadAll().catch(() => [])) {
    items.push({ progress: 0, lost: 0, stop: new AbortController(), ...item });
    nextId = Math.max(nextId, item.id + 1);
  }
}

export function begin() {
  tell("change");
  next();
  prepare();
}

/** Adds images {file, name}. */
export function add(images) {
  for (const { file, name } of images) {
    const item = { id: nextId++, name, file, size: file.size, added: Date.now(), thumb: undefined, state: "waiting" };
    items.push({ ...item, progress: 0, lost: 0, stop: new AbortController(), isNew: true });
  }
  tell("change");
  next();
  prepare();
}

let preparing = false;
/** Keeps new images and makes their thumbnails, one after the other: hundreds at once would fill the memory. */
async function prepare() {
  if (preparing) return;
  preparing = true;
  for (let item = unprepared(); item; item = unprepared()) {
    if (item.isNew) {
      item.isNew = false;
      await keep(() => store.putNew(item));
    } else {
      item.thumb = await thumbnail(item.file).catch(() => null); // the server says what is wrong with it
      if (items.includes(item)) await keep(() => store.put(item));
      tell("change", item);
    }
  }
  preparing = false;
}
const unprepared = () => items.find(({ isNew }) => isNew) ?? items.find(({ thumb }) => thumb === undefined);

/** Where there is no room, the page goes on without: a reload then loses what is new. */
async function keep(write) {
  if (!kept) return;
  try {
    await write();
  } catch {
    kept = false;
    tell("change");
  }
}

/** Starts what can be started. */
function next() {
  while (running < atOnce && !wantsKey) {
    const item = items.find(({ state }) => state === "waiting");
    if (!item) return;
    run(item);
  }
}

async function run(item) {
  running++;
  Object.assign(item, { state: "running", progress: 0, lost: 0, error: undefined, code: undefined });
  tell("change", item);
  try {
    const body = await attribute(item.file, {
      key,
      signal: item.stop.signal,
      onProgress: (done) => {
        item.progress = done;
        tell("progress", item);
      },
      onLost: (lost) => {
        item.lost = lost;
        tell("change", item);
      },
    });
    const { limits: _, typical: __, notes: ___, findings: ____, ...about } = server ?? {};
    Object.assign(item, { image: body.images[0], modelSet: body.modelSet, server: about, state: "done" });
  } catch (error) {
    if (error instanceof KeyError) {
      item.state = "waiting";
      wantsKey = true;
      tell("key");
    } else {
      Object.assign(item, { state: "failed", error: error.message, code: error.code ?? "page" });
      if (!(error instanceof AnswerError) && !item.stop.signal.aborted) console.warn(error);
    }
  }
  running--;
  if (items.includes(item)) await keep(() => store.put(item));
  tell("change", item);
  next();
}

/** Goes on with a key. */
export function useKey(given) {
  key = given;
  wantsKey = false;
  next();
}
export const currentKey = () => key;
/** Nothing starts without a key. */
export const askForKey = () => {
  wantsKey = true;
  tell("key");
};

/** Asks again for images whose error may have passed. */
export function retry(which) {
  for (const item of which) if (item.state === "failed") item.state = "waiting";
  tell("change");
  next();
}

export function remove(item) {
  item.stop.abort(new Error("removed"));
  items.splice(items.indexOf(item), 1);
  keep(() => store.remove(item.id));
  tell("change");
  next();
}

export async function clear() {
  for (const { stop } of items) stop.abort(new Error("removed"));
  items.length = 0;
  await store.clear().catch(() => {});
  tell("change");
}
