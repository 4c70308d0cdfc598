/** The runtime's messages about files, in words that say what a user can do. */

/** Why a file cannot be used, and what to do. Messages that are clear already stay as they are. */
export function explainFileError(message: string): string {
  return message
    .replace(
      /Too many levels of symbolic links \(os error \d+\)/g,
      "is a symbolic link that leads back to itself; name the file that it should lead to, or remove the link",
    )
    .replace(
      /Requires \w+ access to (.+?), run again with the --allow-\S+ flag/g,
      "no right to use $1: files of the system (/proc, /sys, /dev) are kept from this program; copy it elsewhere",
    );
}
