/**
 * How many verdicts agree with a table of true labels: what `attribute --labels` prints when it is done.
 * A glance, without intervals or curves; `deno task evaluate` has those.
 */
import type { EvidenceLine } from "../../attribution/evidence/evidence.ts";
import { readLabels } from "../../attribution/images/labelled.ts";
import type { Label, Labels } from "../../attribution/labels.ts";
import { accuracy, confusionMatrix, precision, recall } from "../../attribution/metrics/mod.ts";
import { textTable } from "./table.ts";

export class Score {
  readonly #table: ReadonlyMap<string, Label>;
  readonly #labels: Labels;
  readonly #actual: Label[] = [];
  readonly #said: string[] = [];
  #unlabelled = 0;

  private constructor(table: ReadonlyMap<string, Label>, labels: Labels) {
    this.#table = table;
    this.#labels = labels;
  }

  /** Reads a table with the columns image_name and label. Throws on missing columns, unknown labels and double rows. */
  static async open(path: string, labels: Labels): Promise<Score> {
    return new Score(await readLabels(path, labels), labels);
  }

  /** Counts a verdict; images without a row in the table are left out. */
  add({ image, label }: EvidenceLine): void {
    const actual = this.#table.get(image);
    if (actual === undefined) this.#unlabelled++;
    else {
      this.#actual.push(actual);
      this.#said.push(label);
    }
  }

  /** A row per label, and how many were right. `unreadable` is never right. */
  table(): string {
    const all = [...this.#labels.all, "unreadable"];
    const matrix = confusionMatrix(this.#actual, this.#said, all);
    const rows = all.flatMap((label, i) => {
      const images = matrix.counts[i].reduce((sum, count) => sum + count, 0);
      const said = matrix.counts.reduce((sum, row) => sum + row[i], 0);
      if (images + said === 0) return [];
      return [
        [label, images, matrix.counts[i][i], said].map(String).concat(
          percent(recall(matrix, label)),
          percent(precision(matrix, label)),
        ),
      ];
    });
    const right = this.#actual.filter((label, i) => label === this.#said[i]).length;
    const left = this.#unlabelled > 0 ? `; ${this.#unlabelled} have no row in the table` : "";
    return textTable(["label", "images", "right", "said", "recall", "precision"], rows) +
      `\n${right} of ${this.#actual.length} right (${percent(accuracy(matrix))})${left}\n`;
  }
}

function percent(rate: number | null): string {
  return rate === null ? "-" : `${(100 * rate).toFixed(1)} %`;
}
