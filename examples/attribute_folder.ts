/**
 * Attributes folders of images, with progress, a table of results, and a journal that an interrupted run goes on from.
 *
 *   deno run -A examples/attribute_folder.ts [folder or image ...]
 *
 * `deno task attribute` does this and more.
 */
import { isUnreadable, listImages, Tracer, wordsOf } from "../mod.ts";

const sample = decodeURIComponent(new URL("./Dataset/val/var16", import.meta.url).pathname);
const images = await listImages(Deno.args.length > 0 ? Deno.args : [sample]); // in the natural order of their names

const interrupt = new AbortController();
Deno.addSignalListener("SIGINT", () => interrupt.abort());

await using tracer = await Tracer.open({ device: "cpu", unsureBelow: 0.5, journal: "journal.sqlite" }, {
  onNote: (text) => console.error(text),
});

let done = 0, shown = 0;
/** Called after every pass, with the work that it was, counted in images. */
function onWork(work: number): void {
  done += work;
  const percent = Math.floor(100 * done / images.length);
  if (percent >= shown + 10) console.error(`${shown = percent} %`);
}

const counts = new Map<string, number>();
const rows = ["image_name,label,finding,confidence"];
for await (const line of tracer.attribute(images, { onWork, signal: interrupt.signal })) {
  const title = isUnreadable(line) ? "unreadable" : `${wordsOf(line).title}${line.unsure ? ", unsure" : ""}`;
  counts.set(title, (counts.get(title) ?? 0) + 1);
  const cells = isUnreadable(line) ? [line.label, "", ""] : [line.label, line.finding, line.confidence.toFixed(3)];
  rows.push([line.image, ...cells].join());
}
await Deno.writeTextFile("results.csv", rows.join("\n") + "\n");
for (const [title, count] of [...counts].sort((a, b) => b[1] - a[1])) console.log(`${title}: ${count}`);
