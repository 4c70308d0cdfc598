/** Square images of one size in memory, as the zoo's training reads them. */
export interface Crops {
  readonly count: number;
  /** Width and height in pixels. */
  readonly side: number;
  /** [count, side, side, 3], RGB. */
  readonly pixels: Uint8Array;
  /** Class of each image. */
  readonly classes: Uint8Array;
  /** Identifies the data: sha256 of the pixels. */
  readonly fingerprint: string;
}
