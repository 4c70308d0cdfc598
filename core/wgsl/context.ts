/**
 * What a kernel of this device can use: dispatches over storages, scratch memory, and facts about the adapter.
 * Kernels see nothing else of the device.
 */
import type { Storage } from "../tensor/kernels.ts";
import type { Texture, TextureFormat } from "./pool.ts";
import type { Groups, Program } from "./program.ts";
import type { TextureRect } from "./recorder.ts";
import type { Tuning } from "./tuning.ts";

export interface Context {
  /** Which family of tiles to use: workgroup memory and barriers, or registers only. */
  readonly tiles: "hardware" | "software";
  /** What was measured of the adapter; for the tiles of hardware. */
  readonly tuning: Tuning;
  /** Stands in for a buffer that is not given; 256 bytes. */
  readonly empty: Storage;
  dispatch(
    program: Program,
    buffers: Readonly<Record<string, Storage | Texture>>,
    params: Record<string, number>,
    groups: Groups,
  ): void;
  /** Memory for use within one kernel: give it back with `free` after the last dispatch that uses it. */
  alloc(bytes: number): Storage;
  free(storage: Storage): void;
  /** Largest side of a texture in texels. */
  readonly maxTextureSide: number;
  /** A texture for use within one kernel; what this `purpose` never writes is zero. */
  allocTexture(width: number, height: number, format: TextureFormat, purpose: string): Texture;
  freeTexture(texture: Texture): void;
  /** Copies rows of a storage, from byte `offset` on and `bytesPerRow` apart, into a texture. */
  copyToTexture(storage: Storage, offset: number, bytesPerRow: number, texture: Texture, rect: TextureRect): void;
  /** Moves a whole storage, row after row of `width` texels, into a texture, where kernels find it from then on. */
  moveToTexture(storage: Storage, width: number, height: number, format: TextureFormat): void;
  /** The texture that `moveToTexture` made of a storage. Throws naming `user` when there is none. */
  textureOf(storage: Storage, user: string): Texture;
}
