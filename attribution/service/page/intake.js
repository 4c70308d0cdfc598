// Finds the images in what a user gives: files, folders, zips. It sends nothing and draws nothing.
import { bytes, count } from "./dom.js";

export const limits = {
  /** Images in the list. */
  images: 2000,
  /** Files that are looked at in folders and zips. */
  files: 20_000,
  /** Bytes of a zip, and of all that is unpacked from it. */
  zip: 512e6,
  unpacked: 1e9,
  /** Bytes of an image; the server's own limit replaces it. */
  image: 32 * 2 ** 20,
};

const types = { png: "image/png", jpg: "image/jpeg", jpeg: "image/jpeg", webp: "image/webp" };
const ending = (name) => /\.([^./]+)$/.exec(name)?.[1].toLowerCase() ?? "";
/** What systems leave in folders, which nobody means. */
const isHidden = (path) => path.split("/").some((part) => part.startsWith(".") || part === "__MACOSX");
const isZip = ({ file, path }) =>
  ending(path) === "zip" || ["application/zip", "application/x-zip-compressed"].includes(file.type);
const isImage = ({ file, path }) => {
  return file.type.startsWith("image/") || ending(path) in types || (file.type === "" && ending(path) === "");
};

/**
 * The images among files with their paths, unpacked where they are in zips, as {file, name}. `left` is how many other
 * files were left out, `problems` says in sentences what could not be read.
 */
export async function imagesOf(given, room) {
  const found = { images: [], left: 0, problems: [] };
  for (const one of given) {
    if (isHidden(one.path)) continue;
    if (isZip(one)) await addZip(one, room, found);
    else if (!isImage(one)) found.left++;
    else if (found.images.length >= room) found.full = true;
    else found.images.push({ file: one.file, name: one.path });
  }
  if (found.full) found.problems.push(`The list has room for ${limits.images} images: the others were left out.`);
  return found;
}

/** Files of an input: `webkitRelativePath` is the path in a chosen folder. */
export const fromInput = (files) => [...files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));

/** Files of a drop, folders with all that is in them. Call it in the event, which forgets its items after it. */
export function fromDrop(transfer) {
  const entries = [...transfer.items].map((item) => ({
    entry: item.webkitGetAsEntry?.(),
    file: item.kind === "file" ? item.getAsFile() : null,
  }));
  return readEntries(entries, [...transfer.files]);
}

async function readEntries(entries, files) {
  if (!entries.some(({ entry }) => entry?.isDirectory)) return fromInput(files);
  const found = [];
  for (const { entry, file } of entries) {
    if (entry) await walk(entry, found);
    else if (file) found.push({ file, path: file.name });
  }
  return found;
}

async function walk(entry, found) {
  if (found.length >= limits.files || entry.name.startsWith(".")) return;
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject)).catch(() => undefined);
    if (file) found.push({ file, path: entry.fullPath.replace(/^\//, "") });
    return;
  }
  const reader = entry.createReader();
  // A reader gives some entries at a time, and none at the end.
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)).catch(() => []);
    if (some.length === 0) return;
    for (const child of some.toSorted((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }))) {
      await walk(child, found);
    }
  }
}

/** Unpacks the images of a zip, one at a time, in a worker that ends with it. */
async function addZip({ file, path }, room, found) {
  if (file.size > limits.zip) {
    found.problems.push(
      `${path} has ${bytes(file.size)}, more than ${bytes(limits.zip)}: unzip it and drop the folder.`,
    );
    return;
  }
  const worker = new Worker("/page/unzip_worker.js");
  const own = { images: 0, failed: 0 };
  try {
    await new Promise((resolve, reject) => {
      worker.onerror = () => reject(new Error("it is damaged, or no zip"));
      worker.onmessage = ({ data }) => {
        if (data.type === "image") {
          own.images++;
          const type = types[ending(data.name)];
          found.images.push({ file: new Blob([data.bytes], { type }), name: `${path}/${data.name}` });
        } else if (data.type === "failed") own.failed++;
        else if (data.type === "error") reject(new Error(data.message));
        else {
          found.left += data.left;
          if (data.full) found.full = true;
          if (data.large > 0) {
            found.problems.push(`${path}: ${count(data.large, "image")} left out, too large to unpack or to send.`);
          }
          resolve();
        }
      };
      const most = Math.max(0, room - found.images.length);
      worker.postMessage({ file, endings: Object.keys(types), most, largest: limits.image, unpacked: limits.unpacked });
    });
    if (own.failed > 0) found.problems.push(`${path}: ${count(own.failed, "image")} could not be unpacked.`);
    else if (own.images === 0 && !found.full) found.problems.push(`${path}: no images in this zip.`);
  } catch (error) {
    found.problems.push(`${path} cannot be unpacked: ${error.message}.`);
  } finally {
    worker.terminate();
  }
}
