/**
 * Device and networks of a run, opened when they are first needed: a run that recalls everything opens none.
 * open_run.ts uses it.
 */
import { formatBytes } from "../../util/bytes.ts";
import { DeviceError } from "../../util/errors.ts";
import { hiddenCard } from "../../core/mod.ts";
import { deviceKind, openDevice } from "../../core/open_device.ts";
import type { Device } from "../../core/tensor/mod.ts";
import type { FamilyName } from "../../models/family.ts";
import type { ModelSet } from "../../models/model_set.ts";
import { networkName } from "../../models/model_set.ts";
import { sharedTokenizer } from "../../models/network_rows.ts";
import type { Quantize } from "../quantisation/quantize.ts";
import { openQuantizer, type QuantizerName } from "../quantisation/quantizers.ts";
import { loadWithOwnEncoder, tracingShare } from "../signals/own_encoder.ts";
import { usualMemoryLimit } from "./memory_limit.ts";
import { leastMemory, type Plan, planMemory } from "./memory_plan.ts";
import type { Measuring, Observer, OpenRunOptions, RunEvents, RunOptions } from "./run_options.ts";
import { VariantPool } from "./variant_pool.ts";

/** A device, and what fits into its memory. */
export interface Machine {
  readonly device: Device;
  readonly plan: Plan;
}

/** Everything that is open. */
export interface Opened extends Machine {
  readonly pool: VariantPool;
  readonly quantizers: Readonly<Record<FamilyName, Quantize>>;
}

/** Opens the device, and then the networks, once each. What is open is closed by the stack that it was given. */
export class RunNetworks {
  readonly #set: ModelSet;
  readonly #what: Measuring;
  readonly #options: OpenRunOptions;
  readonly #events: RunEvents;
  readonly #cleanup: AsyncDisposableStack;
  #machine: Promise<Machine> | undefined;
  #opening: Promise<Opened> | undefined;
  /** What is open, as far as it is. */
  known: Partial<Opened> = {};

  constructor(
    set: ModelSet,
    what: Measuring,
    options: OpenRunOptions,
    events: RunEvents,
    cleanup: AsyncDisposableStack,
  ) {
    this.#set = set;
    this.#what = what;
    this.#options = options;
    this.#events = events;
    this.#cleanup = cleanup;
  }

  /** The kind of the device, which need not be open for that. */
  async kind(): Promise<Device["info"]["kind"]> {
    return this.known.device?.info.kind ?? await deviceKind(this.#options.device ?? "auto");
  }

  /** Opens the device and plans its memory. Throws where device or memory do not fit the options. */
  machine(): Promise<Machine> {
    return this.#machine ??= this.#openMachine();
  }

  /** Loads the networks and makes the tables of quantisers. Throws as `machine` does, and for weights that do not fit. */
  open(): Promise<Opened> {
    return this.#opening ??= this.#openAll();
  }

  async #openMachine(): Promise<Machine> {
    const options = this.#options;
    const device = await openDevice(options.device ?? "auto", { threads: options.threads });
    this.#cleanup.defer(() => device.close());
    checkSoftware(device, options);
    const plan = await planRun(this.#set, device, this.#what, options);
    device.limitMemory(plan.memoryBytes);
    noteDevice(device, plan, options, this.#events);
    return this.known = { device, plan };
  }

  async #openAll(): Promise<Opened> {
    const { device, plan } = await this.machine();
    const { weightType, preload } = this.#options;
    const { onPrepare } = this.#events;
    const { signals, quantization } = this.#what;
    const loaded = plan.swapped.length === 0 ? this.#set.networks : this.#set.networks.filter(({ variant }) => {
      return variant === undefined || plan.resident.has(variant);
    });
    const names = loaded.map(networkName);
    const pool = await VariantPool.open(this.#set, device, plan, {
      weightType,
      preload,
      onLoad: (name) => {
        const place = names.indexOf(name) + 1;
        onPrepare?.(`loading ${name}${preload !== false && place > 0 ? ` (${place} of ${names.length})` : ""}`);
      },
      loadTokenizer: signals === "baselines"
        ? (name, shared) => loadWithOwnEncoder(this.#set, device, name, shared)
        : undefined,
    });
    this.#cleanup.defer(() => pool.dispose());
    const quantizers: Record<FamilyName, Quantize> = {};
    for (const [family, tokenizer] of Object.entries(pool.tokenizers)) {
      if (tokenizer.residual !== null) onPrepare?.(`making tables of the ${family} quantiser (${quantization})`);
      quantizers[family] = await this.#quantizer(family, quantization, pool);
    }
    return this.known = { device, plan, pool, quantizers };
  }

  async #quantizer(family: FamilyName, name: QuantizerName, pool: VariantPool): Promise<Quantize> {
    const quantizer = await openQuantizer(name, pool.tokenizers[family]);
    this.#cleanup.defer(() => quantizer.dispose());
    return observed(family, quantizer.quantize, this.#options.observer ?? {});
  }
}

/** Throws for a software adapter where the options exclude that. */
function checkSoftware({ info }: Device, { allowSoftware = true }: RunOptions): void {
  if (!info.software || allowSoftware) return;
  throw new DeviceError(
    `device: expected a GPU, found the software adapter ${info.name}, which is slower than --device cpu; ` +
      "install the GPU's Vulkan driver (docs/deploy.md), or allow it with --allow-software",
  );
}

/** Notes which adapter was taken and what it may use, or why a card was not. */
function noteDevice({ info }: Device, plan: Plan, { device = "auto" }: RunOptions, events: RunEvents): void {
  if (info.software) return events.onNote?.(`using a software adapter: ${info.name}`);
  if (info.kind === "webgpu") {
    const [limit, tensor] = [plan.memoryBytes, info.maxTensorBytes].map(formatBytes);
    return events.onNote?.(`using ${info.name}, at most ${limit} of its memory, ${tensor} per tensor`);
  }
  const hidden = device === "auto" ? hiddenCard() : undefined;
  if (hidden !== undefined) events.onNote?.(`using the processor: ${hidden}`);
}

function observed(family: FamilyName, quantize: Quantize, { onQuantised }: Observer): Quantize {
  if (onQuantised === undefined) return quantize;
  return (f) => {
    const result = quantize(f);
    onQuantised(family, f, result.fHat);
    return result;
  };
}

/** Plans memory for the tokenizers and, if there is scoring, the transformers. */
async function planRun(
  set: ModelSet,
  device: Device,
  { quantization, signals, scoring }: Measuring,
  options: RunOptions,
): Promise<Plan> {
  const { weightType, maxBatch } = options;
  const networks = set.networks.filter(({ variant }) => variant === undefined || scoring !== undefined);
  const classes = scoring !== undefined && scoring.condition !== "none";
  const planned: Pick<ModelSet, "networks" | "footprint" | "tokenizerFacts"> = {
    networks,
    footprint(device, id, weightType) {
      const own = set.footprint(device, id, weightType);
      const isShared = id.variant === undefined && sharedTokenizer(set.manifest, id.family) !== undefined;
      return isShared ? { ...own, weights: 0, packed: 0, loading: 0 } : own;
    },
    tokenizerFacts: set.tokenizerFacts.bind(set),
  };
  const needs = { weightType, maxBatch, classes, quantization };
  const { memoryBytes = await usualMemoryLimit(device, leastMemory(planned, device, needs)) } = options;
  const isUsual = options.memoryBytes === undefined;
  const plan = planMemory(planned, device, { ...needs, memoryBytes, isUsual });
  if (signals !== "baselines") return plan;
  const batch = Math.max(1, Math.floor(plan.tokenizerBatch / tracingShare));
  return { ...plan, tokenizerBatch: batch, chunk: batch };
}
