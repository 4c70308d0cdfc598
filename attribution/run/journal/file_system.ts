/** Tells file systems apart on which SQLite's write-ahead log is safe. */
import { statfsSync } from "node:fs";
import { dirname } from "node:path";

/** Network file systems by the type that statfs gives on Linux (statfs(2)). Their machines do not share memory. */
const networkFileSystems: Readonly<Record<number, string>> = {
  0x6969: "NFS",
  0x0bd00bd0: "Lustre",
  0x47504653: "GPFS",
  0x19830326: "BeeGFS",
  0x00c36400: "Ceph",
  0x5346414f: "AFS",
  0x517b: "SMB",
  0xff534d42: "CIFS",
  0xfe534d42: "SMB",
  0x01021997: "9P",
};

/** The type of the file system of a file, as statfs gives it. Undefined without `--allow-sys=statfs`. */
export function fileSystemType(path: string): number | undefined {
  try {
    return Number(statfsSync(dirname(path)).type) >>> 0;
  } catch {
    return undefined;
  }
}

/** The name of a network file system by its type; undefined for others, and for none. */
export function networkFileSystem(type: number | undefined): string | undefined {
  return type === undefined ? undefined : networkFileSystems[type];
}
