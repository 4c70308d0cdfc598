/** The ten classes of the tiny recipe, clusters of its 64x64 crops. */
import type { Clustering } from "../classes.ts";
import stored from "./classes.json" with { type: "json" };

/** Their centres. */
export const tinyClasses: Clustering = stored;

/** How many they are. */
export const classCount: number = stored.centres.length;
