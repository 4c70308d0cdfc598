/** Schemas of numbers that configurations are made of. */
import * as v from "npm:valibot@1.5.0";

/** A whole number of at least 1. */
export const count = v.pipe(v.number(), v.integer("a whole number"), v.minValue(1, "at least 1"));

/** One or more of them. */
export const counts = v.pipe(v.array(count), v.minLength(1, "at least one number"));

/** A number above 0. */
export const positive = v.pipe(v.number(), v.gtValue(0, "a number above 0"));
