/** The manual page in the man macros of roff (man(7)), written from the descriptions and option tables of all tasks. */
import { nameOf, type Option, type Options } from "../../util/options.ts";
import { type Described, describeOption, exitCodesOf, standardOptions } from "./command.ts";
import { spelled } from "./spelling.ts";

/** A page for these tasks. `date` is when it was written, such as `2026-11-30`. */
export function manualPage(commands: readonly Described[], version: string, date: string): string {
  return [
    `.TH MODEL-TRACER 1 ${date} "model-tracer ${version}" "User Commands"`,
    ".SH NAME",
    "model\\-tracer \\- which image\\-autoregressive model made an image",
    ".SH SYNOPSIS",
    ".B model\\-tracer",
    ".I TASK",
    "[options]",
    ".SH DESCRIPTION",
    text("Every task runs in a process with the permissions that it needs. Paths are those of the working folder."),
    text("Options of all tasks:"),
    ...optionRows(standardOptions),
    ...commands.flatMap(taskSection),
    "",
  ].join("\n");
}

function taskSection({ name, about, usage, actions = {}, options, notes, exitCodes }: Described): string[] {
  return [
    `.SH ${word(name).toUpperCase()}`,
    text(about),
    ...usage.flatMap((form) => [".PP", `.B model\\-tracer ${word(name)}`, text(form)]),
    ...Object.entries(actions).flatMap(([action, does]) => [".TP", `.B ${word(action)}`, text(does)]),
    ...optionRows(options),
    ...notes === undefined ? [] : notes.split("\n").flatMap((line) => [".PP", text(line)]),
    ".PP",
    text(`Exit codes: ${exitCodesOf({ exitCodes }).map(([code, meaning]) => `${code} ${meaning}`).join(", ")}.`),
  ];
}

function optionRows(options: Options): string[] {
  const rows = Object.entries(options);
  return rows.flatMap(([key, row], i) => {
    const isNew = row.group !== undefined && row.group !== rows[i - 1]?.[1].group;
    return [
      ...isNew ? [`.SS ${word(row.group!)}`] : [],
      ".TP",
      left(nameOf(key, row), row),
      text(describeOption(row)),
      ...meanings(row),
    ];
  });
}

function left(name: string, { short, value }: Option): string {
  const names = [...short === undefined ? [] : [`\\fB\\-${short}\\fR`], `\\fB\\-\\-${word(name)}\\fR`].join(", ");
  return value === undefined ? names : `${names} \\fI${word(value)}\\fR`;
}

function meanings({ type }: Option): string[] {
  const rows = Object.entries(type?.meanings ?? {});
  if (rows.length === 0) return [];
  return [".RS", ...rows.flatMap(([value, meaning]) => [".TP", `.B ${word(value)}`, text(meaning)]), ".RE"];
}

/** A word or a title within a line. */
function word(plain: string): string {
  return spelled(plain, true).replaceAll("\\", "\\e").replaceAll("-", "\\-");
}

/** Characters of a line of the source at most. */
const lineWidth = 78;

/** A paragraph: lines of the source that are short, and no request whatever they begin with. */
function text(plain: string): string {
  const lines: string[] = [];
  for (const each of word(plain).split(/\s+/)) {
    const joined = `${lines.at(-1)} ${each}`;
    if (lines.length > 0 && joined.length <= lineWidth) lines[lines.length - 1] = joined;
    else lines.push(each);
  }
  return lines.map((line) => /^[.']/.test(line) ? `\\&${line}` : line).join("\n");
}
