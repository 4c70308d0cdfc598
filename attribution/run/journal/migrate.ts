/**
 * Brings a journal with the tables of version 3 up to date. schema.ts has today's tables. Version 4 has them, too, but its
 * programs take parts of an image's evidence that they do not know for damaged ones, so that they must refuse the file.
 */
import type { DatabaseSync } from "node:sqlite";
import { matches, type Value } from "./checksum.ts";
import { resultChecksum, type Row } from "./rows.ts";

/** The version that had other tables. */
export const formerTablesVersion = 3;

/** The versions that are brought up to date. */
export const formerVersions: readonly number[] = [formerTablesVersion, 4];

/** The tables of version 3 that are others now. */
export const formerTables = `
CREATE TABLE results(run INTEGER NOT NULL, name TEXT NOT NULL, position INTEGER NOT NULL, session INTEGER NOT NULL,
  sha256 BLOB, label TEXT NOT NULL, confidence REAL, unsure INTEGER, error TEXT, checksum BLOB NOT NULL,
  PRIMARY KEY(run, name)) WITHOUT ROWID;
CREATE INDEX results_in_order ON results(run, position);
`;

/** Columns of version 3's `results` that its checksum covered, in their order. */
const formerColumns = ["name", "position", "session", "sha256", "label", "confidence", "unsure", "error"];

/** A checksum that no row matches. */
const damaged = new Uint8Array();

/**
 * Replaces the table `results`, which had a column each for confidence, unsure and error, where one now has all that was
 * said. Rows get no finding, version or time, which were not kept. A damaged row stays one. `definitions` are those of
 * the new table and its index. Call it within a transaction.
 */
export function migrate(db: DatabaseSync, definitions: string): void {
  const hashes = new Map(db.prepare("SELECT id, hash FROM runs").all().map(({ id, hash }) => [id, hash as string]));
  db.exec("ALTER TABLE results RENAME TO former_results; DROP INDEX results_in_order;");
  db.exec(definitions);
  const insert = db.prepare(
    "INSERT INTO results(run, name, position, session, sha256, label, verdict, checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
  );
  for (const former of db.prepare("SELECT * FROM former_results").iterate() as Iterable<Row>) {
    const hash = hashes.get(former.run as number) ?? "";
    const isIntact = matches(former.checksum, hash, ...formerColumns.map((name) => former[name]));
    const { name, position, session, sha256, label } = former as Record<string, Value>;
    const row = { name, position, session, sha256, label, verdict: JSON.stringify(saidIn(former)) };
    insert.run(former.run as number, ...Object.values(row), isIntact ? resultChecksum(hash, row) : damaged);
  }
  db.exec("DROP TABLE former_results;");
}

/** What a row of version 3 says. The text of an error may be damaged. */
function saidIn({ confidence, unsure, error }: Row): Record<string, unknown> {
  if (error === null) return { confidence, unsure: unsure === 1 };
  try {
    return { error: JSON.parse(error as string) };
  } catch {
    return {};
  }
}
