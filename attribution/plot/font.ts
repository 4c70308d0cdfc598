/** The file of the font of all charts. A module of its own: the package for npm has the font elsewhere. */
// Imported so that the package is in the dependency graph. The font file is found beside it.
import font from "npm:dejavu-fonts-ttf@2.37.3/package.json" with { type: "json" };
import { createRequire } from "node:module";

/** Its path. */
export const fontPath: string = createRequire(import.meta.url).resolve(`${font.name}/ttf/DejaVuSans.ttf`);
