/**
 * How many verdicts agree with a table of true labels: what `attribute --labels` prints when it is done.
 * A glance, without intervals or curves; `deno task evaluate` has those.
 */
import { type EvidenceLine, type Finding, findings, isUnreadable } from "../../attribution/evidence/evidence.ts";
import { readLabels } from "../../attribution/images/labelled.ts";
import type { Label, Labels } from "../../attribution/labels.ts";
import { accuracy, confusionMatrix, precision, recall } from "../../attribution/metrics/mod.ts";
import { type NameMap, printable, similarNamesNote } from "../../util/names.ts";
import { textTable } from "./table.ts";

export class Score {
  readonly #table: NameMap<Label>;
  readonly #labels: Labels;
  readonly #actual: Label[] = [];
  readonly #said: string[] = [];
  readonly #byFinding = new Map<Finding, { images: number; right: number }>();
  #unlabelled = 0;

  private constructor(readonly path: string, table: NameMap<Label>, labels: Labels) {
    this.#table = table;
    this.#labels = labels;
  }

  /** Reads a table with the columns image_name and label. Throws on missing columns, unknown labels and double rows. */
  static async open(path: string, labels: Labels): Promise<Score> {
    return new Score(path, await readLabels(path, labels), labels);
  }

  /** What a user should know about names in the table that look the same; undefined where there are none. */
  get note(): string | undefined {
    return similarNamesNote(`--labels ${this.path}`, this.#table.names());
  }

  /** Throws, showing a name of either, when the table has no row for any of the images. */
  requireMatch(images: readonly { readonly imageName: string }[]): void {
    if (images.some(({ imageName }) => this.#table.get(imageName) !== undefined)) return;
    const [row] = this.#table.names();
    throw new Error(
      `--labels ${this.path}: has no row for any of the ${images.length} images: expected names such as ` +
        `${printable(images[0].imageName)}, got names such as ${printable(row)}`,
    );
  }

  /** Counts a verdict; images without a row in the table are left out. */
  add(line: EvidenceLine): void {
    const actual = this.#table.get(line.image);
    if (actual === undefined) {
      this.#unlabelled++;
      return;
    }
    this.#actual.push(actual);
    this.#said.push(line.label);
    if (isUnreadable(line)) return;
    const { images, right } = this.#byFinding.get(line.finding) ?? { images: 0, right: 0 };
    this.#byFinding.set(line.finding, { images: images + 1, right: right + Number(actual === line.label) });
  }

  /** A row per finding, a row per label, and how many labels were right. `unreadable` is never right. */
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
    return this.#findingTable() + "\n" + textTable(["label", "images", "right", "said", "recall", "precision"], rows) +
      `\n${right} of ${this.#actual.length} right (${percent(accuracy(matrix))})${left}\n`;
  }

  #findingTable(): string {
    const rows = findings.flatMap((finding) => {
      const counts = this.#byFinding.get(finding);
      if (counts === undefined) return [];
      const { images, right } = counts;
      return [[finding, String(images), String(right), percent(right / images)]];
    });
    return textTable(["finding", "images", "label right", "share"], rows);
  }
}

function percent(rate: number | null): string {
  return rate === null ? "-" : `${(100 * rate).toFixed(1)} %`;
}
