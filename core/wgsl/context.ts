/**
 * The part of the device that kernels use: dispatches over storages, scratch memory, facts about the adapter.
 */
import type { Storage } from "../tensor/kernels.ts";
import type { Texture, TextureFormat } from "./pool.ts";
import type { Groups, Program } from "./program.ts";
import type { TextureRect } from "./recorder.ts";
import type { Scheduler } from "./schedule.ts";

/** What a kernel gets of the device. */
export interface Context {
  /** Kind of tiles: with workgroup memory and barriers (hardware), or with registers only (software). */
  readonly tiles: "hardware" | "software";
  /** Arithmetic of products with packed linear weights, for tiles of hardware. */
  readonly arithmetic: "f32" | "f16";
  /** How products are cut into blocks on this card, for tiles of hardware. */
  readonly scheduler: Scheduler;
  /** Bound in place of a buffer that is not given; 256 bytes. */
  readonly empty: Storage;
  dispatch(
    program: Program,
    buffers: Readonly<Record<string, Storage | Texture>>,
    params: Record<string, number>,
    groups: Groups,
  ): void;
  /**
   * Memory for use within one kernel: give it back with `free` after the last dispatch that uses it. It may be part of
   * something larger that is free at the moment.
   */
  scratch(bytes: number): Storage;
  free(storage: Storage): void;
  /** Largest side of a texture in texels. */
  readonly maxTextureSide: number;
  /** A texture for use within one kernel. Texels that this `purpose` never writes are zero. */
  allocTexture(width: number, height: number, format: TextureFormat, purpose: string): Texture;
  freeTexture(texture: Texture): void;
  /** Copies rows of a storage, from byte `offset` on and `bytesPerRow` apart, into a texture. */
  copyToTexture(storage: Storage, offset: number, bytesPerRow: number, texture: Texture, rect: TextureRect): void;
  /** Moves a whole storage, in rows of `width` texels, into a texture; `textureOf` finds it from then on. */
  moveToTexture(storage: Storage, width: number, height: number, format: TextureFormat): void;
  /** The texture of a storage after `moveToTexture`. Throws, naming `user`, when there is none. */
  textureOf(storage: Storage, user: string): Texture;
}
