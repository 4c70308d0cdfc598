/** Folders of model sets for tests: the embedded one, and untrained stand-ins that are quicker and name every label. */

/** The embedded set of trained networks, 64x64 pixels. */
export const tiny = new URL("../weights/tiny", import.meta.url).pathname;

/**
 * Untrained networks of 32x32 pixels: files that PyTorch wrote (those of golden/checkpoints), and six variants computed
 * from their names. Thresholds were set by hand so that every label can occur.
 */
export const standIns = new URL("./fixtures/standins", import.meta.url).pathname;
