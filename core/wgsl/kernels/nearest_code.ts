/**
 * The nearest codebook entry of each row, by |code|^2 - 2 x.code; the distances are not stored.
 * A thread compares 4 rows with a part of the codebook, four codes at a time; a second pass takes the best part.
 */
import type { Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import { linearGroups, loopThreads, perItem, type Program } from "../program.ts";

/** Threads that keep an adapter busy. */
const enoughThreads = { software: 1024, hardware: 65536 } as const;
/** Rows and codes that a thread handles together. */
const rowTile = 4;
const codeTile = 4;

function partProgram(tiles: Context["tiles"], width: 1 | 4): Program {
  const type = width === 4 ? "array<vec4f>" : "array<f32>";
  const product = (a: string, b: string) => width === 4 ? `dot(${a}, ${b})` : `${a} * ${b}`;
  const lines = (n: number, line: (i: number) => string) =>
    Array.from({ length: n }, (_, i) => line(i)).join("\n      ");
  return {
    kernel: "nearestCode",
    variant: `part,${tiles},${width}`,
    build: () => ({
      params: { count: "u32", rows: "u32", codes: "u32", c: "u32", parts: "u32", length: "u32" },
      buffers: {
        x: { type, access: "read" },
        codebook: { type, access: "read" },
        distances: { type: "array<f32>", access: "write" },
        indices: { type: "array<u32>", access: "write" },
      },
      code: perItem(
        loopThreads[tiles],
        "p.count",
        `let part = i % p.parts;
  let r = (i / p.parts) * ${rowTile}u;
  let end = min((part + 1u) * p.length, p.codes);
  ${lines(rowTile, (t) => `let x${t} = min(r + ${t}u, p.rows - 1u) * p.c;`)}
  ${lines(rowTile, (t) => `var best${t} = 0.0; var index${t} = p.codes;`)}
  for (var v = part * p.length; v < end; v += ${codeTile}u) {
    ${lines(codeTile, (u) => `let e${u} = min(v + ${u}u, p.codes - 1u) * p.c;`)}
    ${lines(codeTile, (u) => `var norm${u} = 0.0;`)}
    ${lines(rowTile * codeTile, (j) => `var dot${j} = 0.0;`)}
    for (var d = 0u; d < p.c; d++) {
      ${lines(rowTile, (t) => `let a${t} = x[x${t} + d];`)}
      ${lines(codeTile, (u) => `let b${u} = codebook[e${u} + d]; norm${u} += ${product(`b${u}`, `b${u}`)};`)}
      ${lines(rowTile * codeTile, (j) => `dot${j} += ${product(`a${j % rowTile}`, `b${Math.floor(j / rowTile)}`)};`)}
    }
    ${
          lines(rowTile * codeTile, (j) => {
            const t = j % rowTile;
            const u = Math.floor(j / rowTile);
            const closer = `(index${t} == p.codes || distance${j} < best${t})`;
            return `let distance${j} = norm${u} - 2.0 * dot${j};
      if (v + ${u}u < end && ${closer}) { best${t} = distance${j}; index${t} = v + ${u}u; }`;
          })
        }
  }
  ${
          lines(
            rowTile,
            (t) =>
              `if (r + ${t}u < p.rows) {
    distances[(r + ${t}u) * p.parts + part] = best${t};
    indices[(r + ${t}u) * p.parts + part] = index${t};
  }`,
          )
        }`,
      ),
    }),
  };
}

const bestProgram = (tiles: Context["tiles"]): Program => ({
  kernel: "nearestCode",
  variant: `best,${tiles}`,
  build: () => ({
    params: { rows: "u32", parts: "u32" },
    buffers: {
      distances: { type: "array<f32>", access: "read" },
      indices: { type: "array<u32>", access: "read" },
      out: { type: "array<i32>", access: "write" },
    },
    code: perItem(
      loopThreads[tiles],
      "p.rows",
      `var best = distances[i * p.parts];
  var index = indices[i * p.parts];
  for (var part = 1u; part < p.parts; part++) {
    let d = distances[i * p.parts + part];
    if (d < best) { best = d; index = indices[i * p.parts + part]; }
  }
  out[i] = i32(index);`,
    ),
  }),
});

export function nearestCode(gpu: Context, { x, codebook, out, rows, codes, c }: Kernels["nearestCode"]): void {
  if (rows === 0) return;
  if (codes === 0) throw new Error("nearestCode: the codebook is empty");
  const width = c % 4 === 0 ? 4 : 1;
  const rowTiles = Math.ceil(rows / rowTile);
  // Parts small enough for enough threads, and for the 65535 loop iterations that software adapters allow.
  const mostCodes = Math.floor(codeTile * 40000 / (c / width + 1));
  const wanted = Math.ceil(codes * rowTiles / enoughThreads[gpu.tiles]);
  const length = Math.ceil(Math.max(codeTile, Math.min(codes, mostCodes, Math.max(wanted, 64))) / codeTile) * codeTile;
  const parts = Math.ceil(codes / length);
  const distances = gpu.scratch(rows * parts * 4);
  const indices = gpu.scratch(rows * parts * 4);
  const count = rowTiles * parts;
  const threads = loopThreads[gpu.tiles];
  gpu.dispatch(
    partProgram(gpu.tiles, width),
    { x, codebook, distances, indices },
    { count, rows, codes, c: c / width, parts, length },
    linearGroups(Math.ceil(count / threads)),
  );
  gpu.dispatch(
    bestProgram(gpu.tiles),
    { distances, indices, out },
    { rows, parts },
    linearGroups(Math.ceil(rows / threads)),
  );
  gpu.free(distances);
  gpu.free(indices);
}
