/** Every code that an error can have, with what it means and what to do: for the OpenAPI document and the page /docs. */

/** A kind of error. */
export interface ErrorKind {
  readonly code: string;
  readonly status: number;
  /** What went wrong, in a sentence. */
  readonly meaning: string;
  /** What the client can do, in a sentence. */
  readonly advice: string;
  /** A message as a client gets it. */
  readonly example: string;
  /** Where it can come from: the routes under /v1/ with a key, verdicts alone, or any route. Default `attribute`. */
  readonly from?: "v1" | "any";
}

const smaller = "Send a smaller image, or ask the operator for a higher limit; `GET /v1/models` has the limits.";
const again = "Wait for the seconds that the header Retry-After says, and send the request again.";

/** All kinds, by status. */
export const errorKinds: readonly ErrorKind[] = [
  {
    ...{ code: "empty", status: 400, meaning: "The image has no bytes." },
    ...{ advice: "Send the bytes of a PNG, JPEG or WebP as the body.", example: "the image has 0 bytes" },
  },
  {
    ...{ code: "incomplete-body", status: 400, meaning: "The connection broke before the whole body had arrived." },
    ...{ advice: "Send it again.", example: "the body ended before it was complete" },
  },
  {
    ...{ code: "malformed-multipart", status: 400, meaning: "The body is no form, although its header says so." },
    advice: "Let the HTTP library write form and boundary, or send one image as the body.",
    example: "the body is not the multipart/form-data that its header says: it ends before its last boundary",
  },
  {
    ...{ code: "no-images", status: 400, meaning: "The form has no files." },
    advice: "Give each image as a file, for curl with -F image=@FILE.",
    example: "expected at least one file in the multipart body, got none",
  },
  {
    ...{ code: "query", status: 400, meaning: "A query parameter is not known, or has a value that is not." },
    ...{ advice: "Take the parameters of this page.", example: "stream: expected 0 or 1, got yes" },
  },
  {
    ...{ code: "host", status: 400, from: "any", meaning: "The header Host is no host name." },
    ...{ advice: "Send the name that the address has.", example: "expected a host name in the header Host" },
  },
  {
    ...{
      code: "unauthorised",
      status: 401,
      from: "v1",
      meaning: "The server wants a key, and the request has none of its keys.",
    },
    advice: "Send the header `Authorization: Bearer KEY` or `X-API-Key: KEY`.",
    example: "expected a valid key: Authorization: Bearer KEY",
  },
  {
    ...{ code: "origin", status: 403, from: "v1", meaning: "A page of another site sent the request." },
    advice: "The operator can list the site with --cors.",
    example: "requests from pages of this origin are not allowed",
  },
  {
    ...{
      code: "host",
      status: 403,
      from: "any",
      meaning: "The name in the address is not one that the server knows as its own.",
    },
    advice: "Use its address, or ask the operator to list the name with --hosts.",
    example: "this server is not known as tracer.example; --hosts lists its names",
  },
  {
    ...{ code: "not-found", status: 404, from: "any", meaning: "There is no such path." },
    ...{ advice: "Take a path of this page.", example: "there is nothing at this path" },
  },
  {
    ...{ code: "method", status: 405, from: "any", meaning: "The path does not know this method." },
    ...{ advice: "The header Allow says which it knows.", example: "expected POST, got GET" },
  },
  {
    ...{ code: "slow-body", status: 408, meaning: "The body did not arrive in time." },
    ...{ advice: "Send smaller bodies over slow connections.", example: "the body did not arrive within 15000 ms" },
  },
  {
    ...{ code: "body-too-large", status: 413, meaning: "The body has too many bytes." },
    ...{ advice: smaller, example: "the body has more than 33554432 bytes" },
  },
  {
    ...{ code: "too-large", status: 413, meaning: "The image has too many pixels, or is stored in too many scans." },
    ...{ advice: smaller, example: "60000x60000 pixels are more than 16777216" },
  },
  {
    ...{ code: "too-many-images", status: 413, meaning: "The form has too many files." },
    ...{ advice: "Send several requests.", example: "expected at most 16 images, got more" },
  },
  {
    ...{ code: "too-many-parts", status: 413, meaning: "The form has too many fields that are no files." },
    ...{ advice: "Leave them out: they are not used.", example: "expected at most 64 parts besides images, got more" },
  },
  {
    ...{ code: "not-an-image", status: 415, meaning: "The bytes are no image, whatever name or content type says." },
    ...{ advice: "Send a PNG, JPEG or WebP.", example: "expected a PNG, JPEG or WebP file" },
  },
  {
    ...{
      code: "unsupported",
      status: 415,
      meaning: "It is an image of a kind that is not read, such as GIF, HEIC or AVIF.",
    },
    advice: "Ask for the original as PNG, JPEG or WebP. Converting with loss hides traces.",
    example: "GIF is not supported",
  },
  {
    ...{ code: "truncated", status: 422, meaning: "The file ends before the image does." },
    ...{ advice: "Get the file once more from its source.", example: "the PNG file ends early" },
  },
  {
    ...{ code: "corrupt", status: 422, meaning: "The file is damaged, or takes too much time to decode." },
    ...{ advice: "Get the file once more from its source.", example: "the JPEG data are damaged" },
  },
  {
    ...{ code: "request", status: 431, from: "any", meaning: "The request's head is too large." },
    ...{ advice: "Send fewer and shorter headers.", example: "the head of the request is too large" },
  },
  {
    ...{ code: "internal", status: 500, from: "any", meaning: "The server failed." },
    advice: "Send the operator the request id of the answer: the log says more under it.",
    example: "the request failed; the server's log says why under its request id",
  },
  {
    ...{ code: "busy", status: 503, meaning: "The queue is full." },
    ...{ advice: again, example: "the queue is full" },
  },
  {
    ...{ code: "overload", status: 503, meaning: "The machine is too busy to decode the image in time." },
    ...{ advice: again, example: "the machine is too busy to decode the image" },
  },
  {
    ...{ code: "starting", status: 503, from: "v1", meaning: "The server is loading its models." },
    ...{ advice: again, example: "the device is not ready yet" },
  },
  {
    ...{ code: "draining", status: 503, from: "v1", meaning: "The server is about to end." },
    ...{ advice: again, example: "the server is closing" },
  },
  {
    ...{ code: "failed", status: 503, from: "v1", meaning: "The server cannot compute any more." },
    ...{ advice: "Tell the operator: it must be started again.", example: "the device cannot be opened" },
  },
  {
    ...{ code: "deadline", status: 504, meaning: "The answer was not ready in time." },
    ...{ advice: "Send fewer images at once, or a larger timeout_ms.", example: "the deadline has passed" },
  },
];
