/** The descriptions of the tasks that write about all tasks, themselves included. */
import { defineCommand } from "./command.ts";

/** `model-tracer completion SHELL`. */
export const completion = defineCommand({
  name: "completion",
  about: "Prints what a shell needs to complete tasks, options and their values.",
  usage: ["bash|zsh|fish"],
  actions: {
    bash: "model-tracer completion bash > ~/.local/share/bash-completion/completions/model-tracer",
    zsh: "model-tracer completion zsh > _model-tracer, in a folder of $fpath",
    fish: "model-tracer completion fish > ~/.config/fish/completions/model-tracer.fish",
  },
  options: {},
});

/** `model-tracer man`. */
export const man = defineCommand({
  name: "man",
  about: "Prints the manual page of all tasks, for man.",
  usage: ["> model-tracer.1 && man -l model-tracer.1"],
  options: {},
});
