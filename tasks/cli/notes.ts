/** Sentences that several tasks end with. */

/** What a run measured, and where that is kept. */
export function journalNote(computed: number, journal: string): string {
  const images = computed === 1 ? "1 image" : `${computed} images`;
  return computed === 0
    ? `nothing had to be measured, all of it is in ${journal}`
    : `measured ${images}, kept in ${journal}`;
}

/** That evidence of images was left out. */
export function damagedNote(journal: string, images: number): string {
  return `journal ${journal}: rows of ${images} images do not match their checksums and are left out: run attribute ` +
    "again, which measures them again, and check the disk";
}

/** How an interrupted run continues. */
export function interruptedNote(journal: string): string {
  return `interrupted; to continue, run the same command again (evidence is in ${journal})`;
}

/** `12.3 %`. */
export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
