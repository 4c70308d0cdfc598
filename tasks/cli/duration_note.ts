/** How long a training will take, said once it can be known. */
import { duration } from "./progress.ts";

/** Seconds of training that an estimate of the whole duration is made from. */
const leastTimed = 3;

/** Says once, from the speed of the first steps, how long a training takes. */
export class DurationNote {
  #first: { readonly images: number; readonly time: number } | undefined;
  #isSaid = false;
  #total = 0;

  /** `note` tells the user; `now` is the time in seconds. */
  constructor(readonly note: (text: string) => void, readonly now = () => performance.now() / 1000) {}

  /** `total` images are to be trained on. */
  start(total: number): void {
    this.#total = total;
  }

  /** `images` were trained on since the start of this process. The first step is left out: it prepares kernels. */
  update(images: number): void {
    if (this.#isSaid) return;
    const time = this.now();
    this.#first ??= { images, time };
    const seconds = time - this.#first.time;
    if (seconds < leastTimed) return;
    this.#isSaid = true;
    const left = (this.#total - images) * seconds / (images - this.#first.images);
    this.note(`training will take about ${duration(left)} more, without the evaluation of every epoch`);
  }
}
