/** The forty classes of the recipe `matched`, clusters of its 128x128 crops. */
import type { Clustering } from "../classes.ts";
import stored from "./classes.json" with { type: "json" };

/** Their centres. */
export const matchedClasses: Clustering = stored;

/** How many they are. */
export const classCount: number = stored.centres.length;
