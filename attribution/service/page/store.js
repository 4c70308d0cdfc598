// Keeps the list in the browser (IndexedDB), so that a reload loses nothing. Nothing of it leaves the browser, and
// `clear` removes all of it. One tab keeps it; further tabs work without.

const name = "model-tracer";
let database;

/** Opens the store. Resolves to whether this tab keeps the list. */
export async function openStore() {
  if (!globalThis.indexedDB || !await ownsStore()) return false;
  try {
    database = await new Promise((resolve, reject) => {
      const request = indexedDB.open(name, 1);
      request.onupgradeneeded = () => {
        for (const store of ["items", "files"]) request.result.createObjectStore(store, { keyPath: "id" });
        request.result.createObjectStore("view");
      };
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    return true;
  } catch {
    return false; // private windows of some browsers have none
  }
}

/** Longest time to wait for a tab that neither answers nor ends. */
const patience = 10_000;

/**
 * Whether this tab has the store: the lock is held until the page is left. After a reload the page before may have it for
 * a moment, and must not answer any more; a tab that lives says so when it is asked.
 */
async function ownsStore() {
  if (!navigator.locks) return true; // plain http to another machine: there are no locks
  const stop = new AbortController(), channel = new BroadcastChannel(name);
  const left = new Promise((resolve) => addEventListener("pagehide", resolve, { once: true }));
  left.then(() => channel.close());
  const owns = await new Promise((resolve) => {
    let waits = true;
    const end = (owned) => {
      waits = false;
      clearTimeout(timer);
      resolve(owned);
    };
    // A browser may overlook that a request is aborted, so nothing waits for its answer.
    const giveUp = () => {
      end(false);
      stop.abort();
    };
    const timer = setTimeout(giveUp, patience);
    channel.onmessage = ({ data }) => data === "held" && giveUp();
    channel.postMessage("who");
    const hold = () => {
      if (!waits) return; // given up before: the lock is free again at once
      end(true);
      return left;
    };
    navigator.locks.request(name, { signal: stop.signal }, hold).catch(() => end(false));
  });
  if (!owns) {
    channel.close();
    return false;
  }
  channel.onmessage = ({ data }) => data === "who" && channel.postMessage("held");
  // A page that comes back from the browser's memory has the lock no more.
  addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
  return true;
}

/** Runs `body` with the stores; resolves to its request's result when all is written. */
function transact(stores, mode, body) {
  if (!database) return Promise.resolve(undefined);
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(stores, mode);
    const request = body(...stores.map((store) => transaction.objectStore(store)));
    transaction.oncomplete = () => resolve(request?.result);
    transaction.onerror = transaction.onabort = () => reject(transaction.error ?? new Error("the store is full"));
  });
}

/** What belongs to an item, without its file. */
const stored = ({ id, name, size, added, state, thumb, error, code, image, modelSet, server }) => {
  return {
    id,
    name,
    size,
    added,
    state: state === "running" ? "waiting" : state,
    thumb,
    error,
    code,
    image,
    modelSet,
    server,
  };
};

/** Writes an item and its file. Rejects where there is no room. */
export function putNew(item) {
  return transact(["items", "files"], "readwrite", (items, files) => {
    files.put({ id: item.id, file: item.file });
    return items.put(stored(item));
  });
}

/** Writes an item again; it is not written where it was removed meanwhile. */
export function put(item) {
  return transact(["items"], "readwrite", (items) => {
    const request = items.getKey(item.id);
    request.onsuccess = () => request.result !== undefined && items.put(stored(item));
    return request;
  });
}

export function remove(id) {
  return transact(["items", "files"], "readwrite", (items, files) => {
    files.delete(id);
    return items.delete(id);
  });
}

/** All items with their files, in the order in which they were added. */
export async function loadAll() {
  const items = await transact(["items"], "readonly", (items) => items.getAll()) ?? [];
  const files = await transact(["files"], "readonly", (files) => files.getAll()) ?? [];
  const byId = new Map(files.map(({ id, file }) => [id, file]));
  return items.filter(({ id }) => byId.has(id)).map((item) => ({ ...item, file: byId.get(item.id) }));
}

/** Filter, order and page of the overview. */
export const putView = (view) => transact(["view"], "readwrite", (store) => store.put(view, "overview"));
export const loadView = () => transact(["view"], "readonly", (store) => store.get("overview"));

/** Removes all that is kept. */
export function clear() {
  return transact(["items", "files", "view"], "readwrite", (items, files, view) => {
    items.clear();
    files.clear();
    return view.clear();
  });
}
