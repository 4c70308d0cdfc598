/** A checkpoint that means harm, for the tests of everything that opens one. */
import { bytes, op, torchZip } from "./checkpoint/build.ts";

/** A PyTorch file whose pickle calls os.system("touch marker"). */
export function hostileCheckpoint(marker = "hostile-marker"): Promise<Uint8Array<ArrayBuffer>> {
  return torchZip(bytes(op.proto(2), op.global("os", "system"), op.text(`touch ${marker}`), 0x85, "R."));
}
