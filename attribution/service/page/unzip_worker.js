// Unpacks the images of a zip, one after the other, within limits. A worker of its own, which the page ends afterwards.
importScripts("/page/vendor/fflate.js");
const { unzipSync } = self.fflate;

self.onmessage = async ({ data }) => {
  try {
    unpack(new Uint8Array(await data.file.arrayBuffer()), data);
  } catch (error) {
    self.postMessage({ type: "error", message: error.code === undefined ? error.message : "it is damaged, or no zip" });
  }
};

/** Posts every image, then how many other files, too large images and images beyond the limit there are. */
function unpack(zip, { endings, most, largest, unpacked }) {
  const result = { type: "done", left: 0, large: 0, full: false };
  const chosen = [];
  let place = -1, total = 0;
  // The directory alone: nothing is unpacked yet.
  unzipSync(zip, {
    filter({ name, originalSize }) {
      place++;
      const parts = name.split("/"), ending = /\.([^.]+)$/.exec(name)?.[1].toLowerCase();
      if (name.endsWith("/") || parts.some((part) => part.startsWith(".") || part === "__MACOSX")) return false;
      if (!endings.includes(ending)) result.left++;
      else if (chosen.length >= most) result.full = true;
      else if (originalSize > largest || total + originalSize > unpacked) result.large++;
      else {
        total += originalSize;
        chosen.push({ place, name });
      }
      return false;
    },
  });
  chosen.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  for (const { place, name } of chosen) {
    let at = -1;
    try {
      // An entry never gets more room than its directory entry says.
      const [bytes] = Object.values(unzipSync(zip, { filter: () => ++at === place }));
      self.postMessage({ type: "image", name, bytes }, [bytes.buffer]);
    } catch {
      self.postMessage({ type: "failed", name });
    }
  }
  self.postMessage(result);
}
