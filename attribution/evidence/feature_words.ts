/**
 * Features in words: what tables and diagrams call the numbers that evidence and feature tables have under short names.
 */
import { families, familyNames } from "../../models/registry.ts";
import { type ScoreName, scoreTable, signalTable } from "../signals/table.ts";

/** A measured number for readers who do not know its name. */
export interface FeatureWords {
  /** What it is, with its unit in brackets where it has one. */
  readonly title: string;
  /** What lower or higher values mean, in a sentence. */
  readonly meaning: string;
}

const closer = "Lower means closer to the family.";

/** Signals in words, by the names that evidence has. */
const signalMeanings: Readonly<Record<string, string>> = {
  quantLoss: "Distance of the image from what the family's codes can say, before decoding. " + closer,
  encLoss: "Error of the first reconstruction, divided by that of the second. " + closer,
  encLossUncalibrated: "Error of the first reconstruction. It grows with the detail in the image. " + closer,
  combined: "The product of QuantLoss and EncLoss. " + closer,
  quantErrorTail: "QuantLoss where the image fits worst. " + closer,
  reconstruction: "Error of the image after encoding and decoding. " + closer,
  encLossQuantized: "Error of the first reconstruction with quantisation, divided by that of the second. " + closer,
  changedTokens: "Share of the tokens that change when the image is encoded again. " + closer,
  unchangedTokens: "Share of the tokens that stay when the image is encoded again. Higher means closer to the family.",
  latentTracer: "Error of the best reconstruction that a search finds. " + closer,
  oneClass: "Distance of all signals from those of the family's own images. " + closer,
};

const otherSignals: Readonly<Record<string, string>> = {
  unchangedTokens: "Tokens unchanged by re-encoding",
  latentTracer: "LatentTracer",
};

/** A signal in words; its name itself if it is not known. */
export function signalWords(name: string): FeatureWords {
  const title = name in scoreTable ? scoreTable[name as ScoreName].title : otherSignals[name] ?? name;
  return { title, meaning: signalMeanings[name] ?? "" };
}

const kinds: Readonly<Record<string, string>> = {
  conditional: "given the class",
  unconditional: "without a class",
  guided: "as the model samples",
};
const likelier = "Closer to 0 means that the model is likelier to have drawn the image.";

/** Summaries of one scale or of all, without what their names begin with. */
const plain: Readonly<Record<string, FeatureWords>> = {
  "difference.mean": {
    title: "gain in log-probability per token from the class (nats)",
    meaning: "How much the class helps the model to foresee the image.",
  },
  "rank.mean": { title: "mean rank of the tokens", meaning: "1: the model always finds the image's token likeliest." },
  "rank.logMean": {
    title: "mean logarithm of the tokens' ranks",
    meaning: "0: the model always finds the image's token likeliest.",
  },
  logRank: {
    title: "mean logarithm of the tokens' ranks",
    meaning: "0: the model always finds the image's token likeliest.",
  },
  "support.rate": {
    title: "share of tokens that the sampler could have drawn",
    meaning: "Of the model's own images nearly 1.",
  },
  support: {
    title: "share of tokens that the sampler could have drawn",
    meaning: "Of the model's own images nearly 1.",
  },
};

/** A summary of likelihoods (likelihood/summaries.ts) in words; its name itself if it is not known. */
export function summaryWords(name: string): FeatureWords {
  const own = /^own\.(.*)$/.exec(name);
  if (own !== null) {
    const { title, meaning } = summaryWords(own[1]);
    return { title: title.replace(kinds.guided, "as the model's usual sampler draws"), meaning };
  }
  const scale = /^scale(\d+)\.(.*)$/.exec(name);
  if (scale !== null) {
    const { title, meaning } = plain[scale[2]] ?? meanWords(scale[2]);
    return { title: `${title}, scale ${scale[1]}`, meaning };
  }
  if (name in plain) return plain[name];
  const [kind, what] = name.split(".");
  if (!(kind in kinds)) return { title: name, meaning: "" };
  const how = kinds[kind];
  if (what === "sum") return { title: `log-probability of all tokens ${how} (nats)`, meaning: likelier };
  if (what === "lowest20") {
    return { title: `log-probability of the least likely fifth of tokens ${how} (nats)`, meaning: likelier };
  }
  if (what === "perplexity") {
    return { title: `perplexity ${how}`, meaning: "Lower means that the model is likelier to have drawn the image." };
  }
  return what === "mean" ? meanWords(kind) : { title: name, meaning: "" };
}

function meanWords(kind: string): FeatureWords {
  if (!(kind in kinds)) return { title: kind, meaning: "" };
  return { title: `log-probability per token ${kinds[kind]} (nats)`, meaning: likelier };
}

/** A column of a feature table in words, such as `QuantLoss under RAR's tokenizer`. */
export function featureTitle(column: string): string {
  const [owner, ...rest] = column.split(".");
  const name = rest.join(".");
  if (familyNames.includes(owner)) {
    const family = families.find((one) => one.name === owner)!.title;
    if (name === "class.weight") return `weight of the likeliest class, ${family}`;
    if (name === "class.entropy") return `uncertainty about the class, ${family} (nats)`;
    return `${signalWords(name).title} under ${family}'s tokenizer`;
  }
  if (name === "prada.score") return `score of PRADA under ${owner}`;
  const membership = /^membership\.(.*)$/.exec(name);
  if (membership !== null) return `membership feature ${membership[1].replaceAll(".", ", ")}, under ${owner}`;
  return name === "" ? column : `${summaryWords(name).title}, under ${owner}`;
}

/** Names of the signals that have a scale and a typical value. */
export const signalsInEvidence: readonly (keyof typeof signalTable)[] =
  (Object.keys(signalTable) as (keyof typeof signalTable)[]).filter((name) => name !== "changedTokens");
