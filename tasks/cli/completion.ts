/** Completion of command lines for bash, zsh and fish, written from the option tables of all tasks. */
import { nameOf, type Option, type Options } from "../../util/options.ts";
import { catalogue } from "./catalogue.ts";
import { type Described, standardOptions } from "./command.ts";

/** Shells that there is completion for. */
export const shells = ["bash", "zsh", "fish"] as const;
export type Shell = typeof shells[number];

/** What can stand in a place of a command line. */
type Values = { readonly words: readonly string[] } | "files" | "folders" | "anything";

interface Completed {
  readonly name: string;
  readonly short?: string;
  /** What it takes; undefined for a switch. */
  readonly values?: Values;
  readonly help: string;
}

interface Task {
  readonly name: string;
  readonly does: string;
  readonly options: readonly Completed[];
  /** Words that come first, with their meanings. */
  readonly actions: Readonly<Record<string, string>>;
  readonly takesFiles: boolean;
}

/** Names of values in help texts that are paths. */
const paths: Readonly<Record<string, Values>> = { FILE: "files", NAME: "anything", DIR: "folders", RUN: "folders" };

function valuesOf({ value, type }: Option): Values | undefined {
  if (value === undefined) return undefined;
  return type?.words === undefined ? paths[value] ?? "anything" : { words: type.words };
}

function taskOf({ name, options, actions = {}, operands = "" }: Described): Task {
  const does = Object.values(catalogue).map((rows) => rows[name]).find((text) => text !== undefined) ?? "";
  const completed = Object.entries({ ...options, ...standardOptions } as Options).map(([key, row]) => ({
    name: nameOf(key, row),
    short: row.short,
    values: valuesOf(row),
    help: row.help.split(/[;:]/)[0],
  }));
  return { name, does, options: completed, actions, takesFiles: /file|folder|case/.test(operands) };
}

/** The completion of a shell, as a script that it reads. */
export function completionScript(shell: Shell, commands: readonly Described[]): string {
  const tasks = commands.map(taskOf);
  return { bash, zsh, fish }[shell](tasks);
}

/** A word in single quotes, as all three shells read it (fish needs the backslash doubled, which no text here has). */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function bash(tasks: readonly Task[]): string {
  const byOption = tasks.flatMap(({ name, options }) =>
    options.flatMap(({ name: option, short, values }) => {
      if (values === undefined) return [];
      const reply = typeof values === "object"
        ? `_model_tracer_words ${quoted(values.words.join(" "))}`
        : { files: "_model_tracer_paths -f", folders: "_model_tracer_paths -d", anything: ":" }[values];
      const forms = [`--${option}`, ...short === undefined ? [] : [`-${short}`]].map((form) => `"${name} ${form}"`);
      return [`    ${forms.join(" | ")}) ${reply}; return ;;`];
    })
  );
  const byTask = tasks.map(({ name, options, actions, takesFiles }) => {
    const words = [...options.map(({ name }) => `--${name}`)].join(" ");
    return `    ${name}) options=${quoted(words)} actions=${quoted(Object.keys(actions).join(" "))} files=${
      takesFiles ? "1" : ""
    } ;;`;
  });
  return `# Completion of model-tracer for bash, written by \`model-tracer completion bash\`.
_model_tracer_words() { mapfile -t COMPREPLY < <(compgen -W "$1" -- "$current"); }
_model_tracer_paths() {
  mapfile -t COMPREPLY < <(compgen "$1" -- "$current")
  compopt -o filenames 2>/dev/null
}
_model_tracer() {
  local current=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} task= first= options= actions= files= i
  COMPREPLY=()
  # The line breaks words at =.
  if [[ $current == = ]]; then current=; elif [[ $before == = ]]; then before=\${COMP_WORDS[COMP_CWORD-2]}; fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    [[ \${COMP_WORDS[i]} == -* ]] && continue
    if [[ -z $task ]]; then task=\${COMP_WORDS[i]}; elif [[ -z $first ]]; then first=\${COMP_WORDS[i]}; fi
  done
  if [[ -z $task ]]; then
    _model_tracer_words ${quoted([...tasks.map(({ name }) => name), "--help", "--version"].join(" "))}
    return
  fi
  case "$task $before" in
${byOption.join("\n")}
  esac
  case "$task" in
${byTask.join("\n")}
    *) return ;;
  esac
  if [[ $current == -* ]]; then _model_tracer_words "$options"
  elif [[ -n $actions && -z $first ]]; then _model_tracer_words "$actions"
  elif [[ -n $files ]]; then _model_tracer_paths -f
  fi
}
complete -F _model_tracer model-tracer
`;
}

function zsh(tasks: readonly Task[]): string {
  const plain = (text: string) => text.replaceAll(/[[\]:\\]/g, (mark) => `\\${mark}`);
  const described = (entries: readonly (readonly [string, string])[]) =>
    entries.map(([word, does]) => quoted(`${word}:${plain(does)}`)).join(" ");
  const place = (values: Values) =>
    typeof values === "object"
      ? `(${values.words.join(" ")})`
      : { files: "_files", folders: "_files -/", anything: " " }[values];
  const functions = tasks.map(({ name, options, actions, takesFiles }) => {
    const specs = options.flatMap(({ name: option, short, values, help }) => {
      const value = values === undefined ? "" : `:value:${place(values)}`;
      const form = (dashed: string, sign: string) => quoted(`*${dashed}${sign}[${plain(help)}]${value}`);
      return [
        form(`--${option}`, values === undefined ? "" : "="),
        ...short === undefined ? [] : [form(`-${short}`, "")],
      ];
    });
    const words = Object.entries(actions);
    if (words.length > 0) specs.push(quoted(`1:action:((${words.map(([w, d]) => `${w}\\:${zshWord(d)}`).join(" ")}))`));
    if (takesFiles) specs.push(quoted("*:file:_files"));
    return `    ${name}) _arguments -S \\\n      ${specs.join(" \\\n      ")} ;;`;
  });
  return `#compdef model-tracer
# Completion of model-tracer for zsh, written by \`model-tracer completion zsh\`.
_model_tracer() {
  local -a tasks
  tasks=(${described(tasks.map(({ name, does }) => [name, does]))})
  if (( CURRENT == 2 )); then
    _describe -t tasks task tasks
    _arguments '--help[the list of tasks]' '--version[show the version]'
    return
  fi
  local task=$words[2]
  shift words
  (( CURRENT-- ))
  case $task in
${functions.join("\n")}
  esac
}
if [[ $funcstack[1] == _model_tracer ]]; then _model_tracer "$@"; else compdef _model_tracer model-tracer; fi
`;
}

/** A description within the list of an \`_arguments\` spec. */
function zshWord(text: string): string {
  return text.replaceAll(/[^\w.,]/g, (mark) => `\\${mark}`);
}

function fish(tasks: readonly Task[]): string {
  const of = (name: string) => `-n '__fish_seen_subcommand_from ${name}'`;
  const lines = tasks.flatMap(({ name, does, options, actions, takesFiles }) => [
    `complete -c model-tracer -n __fish_use_subcommand -a ${name} -d ${fishQuoted(does)}`,
    ...Object.entries(actions).map(([word, meaning]) =>
      `complete -c model-tracer ${of(name)} -a ${word} -d ${fishQuoted(meaning)}`
    ),
    ...options.map(({ name: option, short, values, help }) => {
      const value = values === undefined
        ? ""
        : typeof values === "object"
        ? ` -x -a ${fishQuoted(values.words.join(" "))}`
        : { files: " -r -F", folders: " -x -a '(__fish_complete_directories)'", anything: " -x" }[values];
      const letter = short === undefined ? "" : ` -s ${short}`;
      return `complete -c model-tracer ${of(name)} -l ${option}${letter}${value} -d ${fishQuoted(help)}`;
    }),
    ...takesFiles ? [`complete -c model-tracer ${of(name)} -F`] : [],
  ]);
  return `# Completion of model-tracer for fish, written by \`model-tracer completion fish\`.
complete -c model-tracer -f
complete -c model-tracer -n __fish_use_subcommand -l help -d 'the list of tasks'
complete -c model-tracer -n __fish_use_subcommand -l version -d 'show the version'
${lines.join("\n")}
`;
}

function fishQuoted(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
