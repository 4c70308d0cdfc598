/**
 * Rules for the initial values of transformers, as the official training code chooses them where it matters. The
 * families say which parameter has which. Source: FoundationVision/VAR, models/var.py (`init_weights`), used for all
 * families.
 */

/** How the values of a parameter are drawn. */
export interface InitRule {
  /** Standard deviation of a normal distribution that is cut at two of them. */
  readonly std: number;
  /** Added to every value. */
  readonly offset: number;
  /** Elements that are 1 instead, as ranges [first, end). */
  readonly ones?: readonly (readonly [first: number, end: number])[];
}

/** Depth and width of a transformer, which decide how large its initial values are. */
export interface TransformerSize {
  readonly depth: number;
  readonly width: number;
}

/** All values alike. */
export const constant = (value: number): InitRule => ({ std: 0, offset: value });

/** Normal values about 0. */
export const normal = (std: number): InitRule => ({ std, offset: 0 });

/** Standard deviation of maps and embeddings: sqrt(1 / 3 width). */
export const mapDeviation = (width: number): number => Math.sqrt(1 / (3 * width));

/**
 * The rule for a parameter of a block, an embedding or a head with the names that timm's transformers have. Those that
 * write into the residual stream (`attn.proj`, `fc2`) are smaller by sqrt(2 depth), so that depth does not change its
 * size. The head starts small, so that the first predictions are near uniform.
 */
export function transformerInitRule(
  name: string,
  shape: readonly number[],
  { depth, width }: TransformerSize,
): InitRule {
  const std = mapDeviation(width);
  if (shape.length === 1) return constant(/norm\d?\.weight$/.test(name) ? 1 : 0);
  if (/(attn\.proj|fc2)\.weight$/.test(name)) return normal(std / Math.sqrt(2 * depth));
  if (/^(lm_head|head)\.weight$/.test(name)) return normal(0.1 * std);
  return normal(std);
}

/**
 * The rule for the map from a condition to the adaLN table of a block: near no modulation. `gates` are the chunks of
 * `width` elements of its bias that scale what a block adds. They start at one, not near zero as in the official code,
 * which trains a thousand times longer: blocks are near the identity through their small output maps instead.
 */
export function modulationInitRule(name: string, width: number, gates: readonly number[]): InitRule {
  if (!name.endsWith("bias")) return normal(0.1 * mapDeviation(width));
  return { ...constant(0), ones: gates.map((chunk) => [chunk * width, (chunk + 1) * width] as const) };
}
