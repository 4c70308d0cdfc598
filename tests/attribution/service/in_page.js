// What tests run inside the page: each function is sent there by its text, and stands alone.

/** Whether `count` images have a verdict, or an error. */
export function isFinished(count) {
  const cards = [...document.querySelectorAll(".card")];
  return cards.length >= count && cards.filter((card) => card.querySelector("progress").hidden).length === count;
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
