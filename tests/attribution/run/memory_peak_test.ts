/**
 * What plans of memory say, held against the WebGPU device on a stub of a card: official networks at full size take what
 * was estimated, and within a plan's limit no pass makes a buffer once it is warm.
 */
import assert from "node:assert/strict";
import { passBytes, planMemory } from "../../../attribution/run/memory_plan.ts";
import { TokenScorer } from "../../../attribution/likelihood/mod.ts";
import { openStubDevice } from "../../../bench/stub/gpu.ts";
import { zeroSource } from "../../../bench/stub/weights.ts";
import { type Device, fromArray, scope, zeros } from "../../../core/mod.ts";
import { planBatch } from "../../../generation/memory.ts";
import type { Family, ImageTokenizer, Variant } from "../../../models/family.ts";
import { type Footprint, type PlannedDevice, weightFootprint } from "../../../models/footprint.ts";
import type { ModelSet } from "../../../models/model_set.ts";
import { familyNamed } from "../../../models/registry.ts";

const GIB = 2 ** 30;

/** An official network, as a model set would describe it. */
interface Network {
  readonly name: string;
  readonly family: Family;
  /** A variant's label; the tokenizer without one. */
  readonly label?: string;
}

function network(family: string, label?: string): Network {
  return { name: label ?? `tokenizer of ${family}`, family: familyNamed(family), label };
}

function parts({ family, label }: Network) {
  const row = family.officialVariants.find((variant) => variant.label === label);
  return row === undefined
    ? {
      specs: family.tokenizerSpecs(family.officialTokenizer),
      activations: family.tokenizerFacts(family.officialTokenizer).activations,
      sampler: undefined,
      config: family.officialTokenizer,
    }
    : {
      specs: family.variantSpecs(row.config),
      activations: family.variantFacts(row.config).activations,
      sampler: row.sampler,
      config: row.config,
    };
}

function footprintOf(device: PlannedDevice, of: Network): Footprint {
  const { specs, activations } = parts(of);
  return { ...weightFootprint(device, specs), ...activations, perImage: activations.perImage[device.info.kind] };
}

/** Loads a network; the pass over `images` images is what the pipeline does with it. */
async function open(device: Device, of: Network, images: number): Promise<() => void> {
  const { family, label } = of;
  const { specs, config } = parts(of);
  const source = zeroSource(specs);
  if (label === undefined) {
    const tokenizer: ImageTokenizer = await family.loadTokenizer(device, source, config);
    const size = tokenizer.imageSize;
    return () =>
      scope(() => {
        const latents = tokenizer.encode(zeros(device, [images, size, size, 3]));
        tokenizer.encode(tokenizer.decode(tokenizer.quantize(latents).fHat));
      });
  }
  const variant: Variant = await family.loadVariant(device, source, config, label);
  const condition = variant.condition([null]);
  const { tokenCount: n, patchNums } = variant;
  const channels = family.tokenizerFacts(family.officialTokenizer).channels;
  const input = () =>
    patchNums.length === 1
      ? fromArray(device, new Int32Array(images * n), [images, n])
      : zeros(device, [images, n - 1, channels]);
  return () => scope(() => void variant.logits(input(), condition));
}

for (
  const [of, images] of [
    [network("rar", "rarb"), 8],
    [network("var", "var16"), 4],
    [network("var", "var30"), 4],
    [network("rar"), 8],
    [network("var"), 8],
    [network("llamagen", "llamagenb"), 8],
    [network("llamagen384", "llamagen3b384"), 4],
    [network("llamagen"), 8],
    [network("llamagen384"), 4],
  ] as const
) {
  Deno.test(`${of.name}, ${images} images: the card's peak is within 5 % of the plan, and the second pass makes no buffer`, async () => {
    const { device, stub } = openStubDevice({ record: false });
    const planned = passBytes(device, footprintOf(device, of), images);
    device.limitMemory(planned);
    const pass = await open(device, of, images);
    device.trim();
    await device.sync();
    stub.reset();
    pass();
    await device.sync();
    const ratio = stub.peakBytes / planned;
    assert.ok(ratio > 0.95 && ratio < 1.05, `${stub.peakBytes / GIB} GiB, planned ${planned / GIB}`);
    stub.reset();
    pass();
    await device.sync();
    assert.deepEqual([stub.counts.made, stub.counts.destroyed], [0, 0]);
  });
}

/** A model set of official networks, as far as plans ask. */
function setOf(networks: readonly Network[]): ModelSet {
  const named = (id: { family: string; variant?: string }) =>
    networks.find(({ family, label }) => family.name === id.family && label === id.variant)!;
  const ofVariant = (variant: string) => networks.find(({ label }) => label === variant)!;
  return {
    networks: networks.map(({ family, label }) => ({ family: family.name, variant: label })),
    footprint: (device: PlannedDevice, id: { family: string; variant?: string }) => footprintOf(device, named(id)),
    familyOf: (variant: string) => ofVariant(variant).family.name,
    variantFacts: (variant: string) => {
      const of = ofVariant(variant);
      return of.family.variantFacts(parts(of).config);
    },
  } as unknown as ModelSet;
}

/** The least memory, to 1 MiB, with which `enough` is true; it is false where it throws. */
function leastBytes(enough: (bytes: number) => boolean): number {
  const isEnough = (bytes: number) => {
    try {
      return enough(bytes);
    } catch {
      return false;
    }
  };
  let [no, yes] = [0, 2 ** 37];
  while (yes - no > 2 ** 20) {
    const middle = (no + yes) / 2;
    if (isEnough(middle)) yes = middle;
    else no = middle;
  }
  return yes;
}

Deno.test("RAR-B scores 8 images within the least memory that a plan takes for them, and makes no buffer once it is warm", async () => {
  const { device, stub } = openStubDevice({ record: false });
  const of = network("rar", "rarb"), set = setOf([of]);
  const planOf = (memoryBytes: number) => planMemory(set, device, { memoryBytes });
  const planned = leastBytes((bytes) => planOf(bytes).variantBatch.get("rarb")! >= 8);
  const { specs, config, sampler } = parts(of);
  device.limitMemory(planned);
  const variant = await of.family.loadVariant(device, zeroSource(specs), config, "rarb");
  const tokenizer = { transformerInput: (tokens) => tokens.reshape(...tokens.shape) } as ImageTokenizer;
  const unconditional = variant.condition([null]);
  const { blockBytes } = planOf(planned).scoring.get("rarb")!;
  const scorer = new TokenScorer(device, tokenizer, variant, [sampler!], { batch: 8, blockBytes, unconditional });
  const score = async () => {
    stub.reset();
    scorer.record(new Int32Array(8 * variant.tokenCount), Array.from({ length: 8 }, () => [null])).packed.dispose();
    await device.sync();
  };
  device.trim();
  await score();
  assert.ok(stub.peakBytes <= planned, `${stub.peakBytes / GIB} GiB, planned ${planned / GIB}`);
  await score();
  assert.deepEqual([stub.counts.made, stub.counts.destroyed], [0, 0]);
});

// What is planned for drawing is for 2^21 logits at once; 8 images of LlamaGen have 2^17 in a step.
for (
  const [family, label, least] of [["rar", "rarb", 0.95], ["var", "var16", 0.95], [
    "llamagen",
    "llamagenb",
    0.75,
  ]] as const
) {
  Deno.test(`${label} draws 8 images with guidance in ${100 * least} to 105 % of the memory that is planned`, async () => {
    const { device, stub } = openStubDevice({ record: false });
    const of = network(family, label), tokenizerOf = network(family);
    const set = setOf([tokenizerOf, of]);
    const planned = leastBytes((bytes) => planBatch(set, device, label, bytes).generate >= 8);
    device.limitMemory(planned);
    const { specs, config, sampler } = parts(of);
    const variant: Variant = await of.family.loadVariant(device, zeroSource(specs), config, label);
    const own = parts(tokenizerOf);
    const tokenizer = await of.family.loadTokenizer(device, zeroSource(own.specs), own.config);
    device.trim();
    await device.sync();
    stub.reset();
    const stop = new AbortController();
    let steps = 0;
    const images = Array.from({ length: 8 }, (_, i) => i);
    const generated = variant.generate(tokenizer, sampler!, {
      ...{ labels: images.map(() => 7), images, seed: 1, signal: stop.signal },
      onStep: () => ++steps === 12 && stop.abort(new Error("enough")), // all scales of VAR, and what every token of the others needs
    });
    await generated.then(({ tokens, fHat }) => [tokens, fHat].forEach((tensor) => tensor.dispose()), () => {});
    await device.sync();
    const ratio = stub.peakBytes / planned;
    assert.ok(ratio > least && ratio < 1.05, `${stub.peakBytes / GIB} GiB, planned ${planned / GIB}`);
    assert.equal(stub.counts.destroyed, 0); // the limit was not in the way
  });
}
