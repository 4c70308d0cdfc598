/** Words for the numbers of evidence and feature tables. */
import assert from "node:assert/strict";
import { featureTitle, signalWords, summaryWords } from "../../../attribution/evidence/feature_words.ts";
import { summaryNames } from "../../../attribution/likelihood/summaries.ts";
import { scoreNames } from "../../../attribution/signals/table.ts";

Deno.test("every signal and every summary has words of its own, without code in them", () => {
  const names = summaryNames(3);
  const own = names.filter((name) =>
    /^(guided\.(mean|lowest20)|rank\.logMean|support\.rate|scale\d\.guided)$/.test(name)
  )
    .map((name) => `own.${name}`);
  const titles = [...names, ...own].map((name) => summaryWords(name).title);
  for (const [i, title] of titles.entries()) assert.doesNotMatch(title, /[.]|^scale/, [...names, ...own][i]);
  const same = (name: string) => summaryWords(name).title === summaryWords(`own.${name}`).title;
  assert.ok(!same("guided.mean"), "the usual sampler is told from the mixture");
  assert.equal(new Set(names.map((name) => summaryWords(name).title)).size, names.length);
  for (const name of scoreNames) {
    const { title, meaning } = signalWords(name);
    assert.notEqual(title, name);
    assert.match(meaning, /(Lower|Higher) means closer to the family\.$/, name);
  }
});

Deno.test("featureTitle() says what a column is, and of which family or variant", () => {
  assert.equal(featureTitle("rar.quantLoss"), "QuantLoss under RAR's tokenizer");
  assert.equal(featureTitle("var.class.entropy"), "uncertainty about the class, VAR (nats)");
  assert.equal(featureTitle("var16.conditional.mean"), "log-probability per token given the class (nats), under var16");
  assert.equal(
    featureTitle("var16.scale2.support"),
    "share of tokens that the sampler could have drawn, scale 2, under var16",
  );
  assert.equal(featureTitle("magic"), "magic", "what is not known keeps its name");
});
