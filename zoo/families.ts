/** The families whose networks the zoo trains. */
import type { ByFamily, FamilyName } from "../models/family.ts";
import type { ZooFamily } from "./family.ts";
import { rarTraining } from "./rar.ts";
import { varTraining } from "./var.ts";

const zooFamilies: ByFamily<ZooFamily> = { rar: rarTraining, var: varTraining };

/** How the networks of a family are trained. Throws a RangeError where the zoo does not train it. */
export function zooFamily(name: FamilyName): ZooFamily {
  if (Object.hasOwn(zooFamilies, name)) return zooFamilies[name];
  throw new RangeError(`zoo: expected a family of ${Object.keys(zooFamilies).join(", ")}, got ${name}`);
}
