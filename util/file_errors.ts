/** The runtime's messages about files and permissions, in words that say what a user can do. */

/** What the runtime says where a permission is missing, to programs that Deno runs and to compiled ones. */
const denied =
  /Requires (\w+) access to (.+?), (run again with the --allow-\w+ flag|specify the required permissions .+?`deno compile --allow-\w+`)/g;

/** What a permission lets a program do with what its message names. */
const doings: Readonly<Record<string, string>> = {
  read: "read",
  write: "write to",
  env: "see the variable",
  net: "use the address",
  run: "start",
};

/** Why a file cannot be used, and what to do. Messages that are clear already stay as they are. */
export function explainFileError(message: string): string {
  return message
    .replace(
      /Too many levels of symbolic links \(os error \d+\)/g,
      "is a symbolic link that leads back to itself; name the file that it should lead to, or remove the link",
    )
    .replace(denied, (_, kind: string, name: string, advice: string) => {
      // These take all permissions, which no task has.
      if (kind === "all" || /^"\/(proc|sys|dev)\//.test(name)) {
        return `no right to use ${name}: files of the system (/proc, /sys, /dev) are kept from this program; copy it elsewhere`;
      }
      const remedy = advice.startsWith("run again")
        ? `add it to --allow-${kind} in the command that starts the program`
        : "a compiled program has the rights that it was compiled with, and reads the folder that it is started in";
      return `no right to ${doings[kind] ?? `have ${kind} of`} ${name}: ${remedy}`;
    });
}
