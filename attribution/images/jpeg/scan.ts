// Entropy decoding of one scan into quantised coefficients: sequential and progressive Huffman coding (ITU T.81,
// annexes F.2 and G.2). Arithmetic coding is not here, and no coefficient is turned into a sample yet.

import { BitReader, type HuffmanTable } from "./huffman.ts";
import { type Component, corrupt, type Frame, type Scan, ZIGZAG } from "./frame.ts";

/** What one block's decoder needs besides the block: reset at every restart marker. */
interface State {
  readonly reader: BitReader;
  /** Blocks that are still skipped by an end-of-band run. */
  skip: number;
}

/** Decodes the block at `at` in `coefficients`; returns the DC value that predicts the component's next block. */
type BlockDecoder = (state: State, scan: Scan, slot: number, at: number, prediction: number) => number;

/** Decodes a scan whose data starts at `at`; returns where the next marker is to be looked for. */
export function decodeScan(bytes: Uint8Array, at: number, frame: Frame, scan: Scan): number {
  checkTables(frame, scan);
  const decodeBlock = blockDecoder(frame, scan);
  const state: State = { reader: new BitReader(bytes, at), skip: 0 };
  const predictions = new Int32Array(scan.components.length);
  const single = scan.components.length === 1 ? scan.components[0].component : undefined;
  // A scan of one component holds only the blocks that cover the image; a scan of several holds whole MCUs.
  const columns = single ? Math.ceil(single.width / 8) : Math.ceil(frame.width / (8 * frame.maxH));
  const rows = single ? Math.ceil(single.height / 8) : Math.ceil(frame.height / (8 * frame.maxV));
  let untilRestart = scan.restartInterval;
  let restarts = 0;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      if (scan.restartInterval > 0 && untilRestart-- === 0) {
        state.reader.restart(restarts++ & 7);
        state.skip = 0;
        predictions.fill(0);
        untilRestart = scan.restartInterval - 1;
      }
      if (single) {
        predictions[0] = decodeBlock(state, scan, 0, (row * single.blockColumns + column) * 64, predictions[0]);
        continue;
      }
      for (let slot = 0; slot < scan.components.length; slot++) {
        const { h, v, blockColumns } = scan.components[slot].component;
        for (let y = 0; y < v; y++) {
          for (let x = 0; x < h; x++) {
            const block = ((row * v + y) * blockColumns + column * h + x) * 64;
            predictions[slot] = decodeBlock(state, scan, slot, block, predictions[slot]);
          }
        }
      }
    }
  }
  return state.reader.position;
}

function blockDecoder(frame: Frame, scan: Scan): BlockDecoder {
  if (!frame.progressive) return sequentialBlock;
  if (scan.from === 0) return scan.high === 0 ? dcFirst : dcRefine;
  return scan.high === 0 ? acFirst : acRefine;
}

function checkTables(frame: Frame, scan: Scan): void {
  const needsDc = scan.from === 0 && scan.high === 0;
  const needsAc = !frame.progressive || scan.from > 0;
  for (const { component, dc, ac } of scan.components) {
    if ((needsDc && dc === undefined) || (needsAc && ac === undefined)) {
      corrupt(`the Huffman table of component ${component.id} is missing`);
    }
  }
}

const coefficientsOf = (scan: Scan, slot: number) => scan.components[slot].component.coefficients;
// checkTables() has established that the tables which a decoder asks for exist.
const dcTable = (scan: Scan, slot: number) => scan.components[slot].dc as HuffmanTable;
const acTable = (scan: Scan, slot: number) => scan.components[slot].ac as HuffmanTable;

function dcDifference(reader: BitReader, table: HuffmanTable): number {
  const size = reader.symbol(table);
  if (size > 15) corrupt(`DC difference of ${size} bits`);
  return reader.signed(size);
}

const sequentialBlock: BlockDecoder = ({ reader }, scan, slot, at, prediction) => {
  const coefficients = coefficientsOf(scan, slot);
  const table = acTable(scan, slot);
  const dc = prediction + dcDifference(reader, dcTable(scan, slot));
  coefficients[at] = dc;
  for (let k = 1; k < 64; k++) {
    const symbol = reader.symbol(table);
    const size = symbol & 15;
    const run = symbol >> 4;
    if (size === 0) {
      if (run < 15) break; // end of block
      k += 15; // sixteen zeros
    } else {
      k += run;
      if (k > 63) corrupt("a run of zeros leaves its block");
      coefficients[at + ZIGZAG[k]] = reader.signed(size);
    }
  }
  return dc;
};

const dcFirst: BlockDecoder = ({ reader }, scan, slot, at, prediction) => {
  const dc = prediction + dcDifference(reader, dcTable(scan, slot));
  coefficientsOf(scan, slot)[at] = dc << scan.low;
  return dc;
};

const dcRefine: BlockDecoder = ({ reader }, scan, slot, at, prediction) => {
  if (reader.bits(1)) coefficientsOf(scan, slot)[at] |= 1 << scan.low;
  return prediction;
};

const acFirst: BlockDecoder = (state, scan, slot, at, prediction) => {
  if (state.skip > 0) {
    state.skip--;
    return prediction;
  }
  const { reader } = state;
  const coefficients = coefficientsOf(scan, slot);
  const table = acTable(scan, slot);
  for (let k = scan.from; k <= scan.to; k++) {
    const symbol = reader.symbol(table);
    const size = symbol & 15;
    const run = symbol >> 4;
    if (size !== 0) {
      k += run;
      if (k > scan.to) corrupt("a run of zeros leaves its band");
      coefficients[at + ZIGZAG[k]] = reader.signed(size) << scan.low;
    } else if (run === 15) k += 15;
    else {
      state.skip = (1 << run) - 1 + reader.bits(run); // this block and `skip` more end here
      break;
    }
  }
  return prediction;
};

/** Adds one bit to every coefficient that is already non-zero, and places new ones between them (T.81, G.1.2.3). */
const acRefine: BlockDecoder = (state, scan, slot, at, prediction) => {
  const { reader } = state;
  const coefficients = coefficientsOf(scan, slot);
  const table = acTable(scan, slot);
  const bit = 1 << scan.low;
  let k = scan.from;
  while (state.skip === 0 && k <= scan.to) {
    const symbol = reader.symbol(table);
    const size = symbol & 15;
    const run = symbol >> 4;
    if (size > 1) corrupt(`a refinement of ${size} bits`);
    if (size === 0 && run < 15) {
      state.skip = (1 << run) + reader.bits(run); // counts this block too
      break;
    }
    const fresh = size === 0 ? 0 : reader.bits(1) ? bit : -bit;
    k = refine(reader, coefficients, at, k, scan.to, bit, run);
    if (fresh !== 0) {
      if (k > scan.to) corrupt("a run of zeros leaves its band");
      coefficients[at + ZIGZAG[k]] = fresh;
    }
    k++;
  }
  if (state.skip > 0) {
    refine(reader, coefficients, at, k, scan.to, bit, 64);
    state.skip--;
  }
  return prediction;
};

/** Refines non-zero coefficients from `k` on and passes `zeros` zeros; returns the position of the zero after them. */
function refine(
  reader: BitReader,
  coefficients: Component["coefficients"],
  at: number,
  k: number,
  to: number,
  bit: number,
  zeros: number,
): number {
  for (; k <= to; k++) {
    const index = at + ZIGZAG[k];
    const value = coefficients[index];
    if (value === 0) {
      if (zeros-- === 0) break;
    } else if (reader.bits(1) && (value & bit) === 0) coefficients[index] = value > 0 ? value + bit : value - bit;
  }
  return k;
}
