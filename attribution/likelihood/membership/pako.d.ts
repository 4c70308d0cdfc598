/** Types of the one function of pako 2.1.0 that is used here. The package has none. */
export interface DeflateOptions {
  readonly level?: number;
}
declare const pako: {
  /** The bytes of a zlib stream (RFC 1950), as zlib's deflate writes them. */
  deflate(data: Uint8Array, options?: DeflateOptions): Uint8Array;
};
export default pako;
