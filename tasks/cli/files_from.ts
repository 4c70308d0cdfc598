/** `--files-from`: paths of images from a file or from standard input, where a command line has no room for them. */

/** The file name that means standard input. */
const standardInput = "-";

/**
 * The paths in a list: NUL after each, as `find -print0` writes them, or one a line. Blanks in paths are kept. Throws,
 * naming the list, when it cannot be read and when it has no path.
 */
export async function readFileList(list: string): Promise<string[]> {
  let text: string;
  try {
    text = list === standardInput ? await new Response(Deno.stdin.readable).text() : await Deno.readTextFile(list);
  } catch (cause) {
    throw new Error(`--files-from ${list}: ${(cause as Error).message}`, { cause });
  }
  const paths = splitFileList(text);
  if (paths.length === 0) {
    throw new Error(`--files-from ${list}: expected a path per line, or with NUL after each, got none`);
  }
  return paths;
}

/** The paths of a list by its text. */
export function splitFileList(text: string): string[] {
  return text.split(text.includes("\0") ? "\0" : /\r?\n/).filter((path) => path !== "");
}
