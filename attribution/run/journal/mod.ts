/**
 * The journal: measurements are computed once per image content, weights and settings, and shared by runs and shards.
 */
export { EvidenceCache } from "./evidence_cache.ts";
export { Journal, type JournalKey, measuringVersion, type ResultRow, type RunSpec, type Session } from "./store.ts";
export { type OpenJournalOptions } from "./schema.ts";
export { JournalError } from "./statement.ts";
export { journaled, type JournaledLine, type JournaledOptions } from "./run.ts";
export { type IdentifiedImage, identify, parseShard, type Shard, shardOf } from "./shards.ts";
export { joinEvidence, mergeSubmission, requireWhole, rowsInOrder, withJournals } from "./merge.ts";
export { type ExportedLine, exportLines } from "./export.ts";
export { collectGarbage, type JournalStats, journalStats } from "./upkeep.ts";
