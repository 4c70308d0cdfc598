// What tests run inside the page: each function is sent there by its text, and stands alone.

/** Whether the list has `count` images, each with a verdict or an error. */
export function isFinished(count) {
  const [, done, all, failed = 0] = /^(\d+) of (\d+) images? done(?:, (\d+) failed)?/.exec(
    document.getElementById("status").textContent,
  ) ?? [];
  return Number(all) === count && Number(done) + Number(failed) === count;
}

/** The number of different colours of every canvas. */
export function coloursOf(canvases) {
  return canvases.map((canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return new Set(new Uint32Array(data.buffer)).size;
  });
}

export function pictureOf(canvas) {
  return canvas.toDataURL();
}

/** Pastes or drops a file. */
export function giveFile({ type, name, bytes, mime }) {
  const data = new DataTransfer();
  data.items.add(new File([Uint8Array.from(bytes)], name, { type: mime }));
  const event = type === "paste"
    ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true })
    : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
  document.body.dispatchEvent(event);
}

/** The id, class or element that has the focus. */
export function focused() {
  const own = document.activeElement;
  return own.id || own.className || own.tagName;
}

export function outlineOf(element) {
  return getComputedStyle(element).outlineStyle;
}

export function pageWidth() {
  return document.documentElement.scrollWidth;
}

/** Contrast of texts with their background, as the WCAG defines it: 1 to 21. */
export function contrasts(pairs) {
  const light = (color) => {
    const [r, g, b] = color.match(/[\d.]+/g).map((value) => {
      const x = Number(value) / 255;
      return x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  return pairs.map(([text, back]) => {
    const a = light(getComputedStyle(document.querySelector(text)).color);
    const b = light(getComputedStyle(document.querySelector(back)).backgroundColor);
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  });
}

/** Where the middles of the yellow lines of a frame are in a canvas, in its pixels. */
export function frameOf(canvas) {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const isLine = (x, y) => {
    const [r, g, b] = data.subarray(4 * (y * width + x), 4 * (y * width + x) + 3);
    return r === 0xff && g === 0xd6 && b === 0x0a;
  };
  const columns = Array.from({ length: width }, () => 0), rows = Array.from({ length: height }, () => 0);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!isLine(x, y)) continue;
      columns[x]++;
      rows[y]++;
    }
  }
  // A line is as long as a side; the arrow is much shorter.
  const ends = (counts) => {
    const most = Math.max(...counts);
    const full = counts.flatMap((count, i) => count > 0.8 * most ? [i] : []);
    const low = full.filter((i) => i < full[0] + 6), high = full.filter((i) => i > full.at(-1) - 6);
    const middle = (group) => group.reduce((sum, i) => sum + i, 0) / group.length;
    return [middle(low), middle(high)];
  };
  const [left, right] = ends(columns), [top, bottom] = ends(rows);
  return { left, top, right, bottom, width, height };
}

/** How many images and files the browser keeps. */
export async function keptItems() {
  const request = indexedDB.open("model-tracer");
  const database = await new Promise((resolve) => request.onsuccess = () => resolve(request.result));
  const counts = await Promise.all(["items", "files", "view"].map((store) => {
    const counting = database.transaction(store).objectStore(store).count();
    return new Promise((resolve) => counting.onsuccess = () => resolve(counting.result));
  }));
  database.close();
  return counts.reduce((a, b) => a + b);
}

/** Counts what would be printed. */
export function stubPrint() {
  globalThis.printed = 0;
  globalThis.print = () => globalThis.printed++;
}

/** The widths that pictures have in themselves. */
export function naturalWidths(images) {
  return images.map(({ naturalWidth }) => naturalWidth);
}

export function isPrinted() {
  return globalThis.printed === 1;
}

/** Whether the focus is on an element with this key. */
export function hasFocus(key) {
  return document.activeElement?.dataset.key === key;
}

export function heightsOf(elements) {
  return elements.map((element) => element.getBoundingClientRect().height);
}

/** The whole page, in CSS pixels. */
export function pageSize() {
  const { clientWidth, scrollHeight } = document.documentElement;
  return { width: clientWidth, height: scrollHeight };
}
