/** Diagrams of verdicts on attacked images, one per attack, so that a narrow screen has them one below the other. */
import { strengthRanges, type TransformName, transformNames } from "../images/augment/mod.ts";
import { axisStyle, palette } from "../plot/chart.ts";
import { type Figure, percentLabel, shortNumber, still } from "./chart_style.ts";
import { aboutFigure, type FigureName } from "./figures.ts";
import { attackTitles, type RobustnessPoint } from "./robustness.ts";

const lines: readonly { readonly name: FigureName; readonly color: string }[] = [
  { name: "accuracy", color: palette[3] },
  { name: "familyAccuracy", color: palette[0] },
  { name: "accused", color: palette[1] },
  { name: "exonerated", color: palette[2] },
];

/** The colours of the lines of all panels. */
export const robustnessLegend: readonly { readonly title: string; readonly color: string }[] = lines.map(
  ({ name, color }) => ({ title: aboutFigure(name).title, color }),
);

/** Rates by strength, a diagram per attack. Attacks without points are left out. */
export function robustnessPanels(points: readonly RobustnessPoint[]): { title: string; figure: Figure }[] {
  const attacks = transformNames.filter((name) => points.some(({ attack }) => attack === name));
  return attacks.map((attack) => {
    const own = points.filter((point) => point.attack === attack).sort((a, b) => a.strength - b.strength);
    const { title } = attackTitles[attack];
    const { low, high } = countsOf(own);
    return { title: `${title} (${low === high ? low : `${low} to ${high}`} images)`, figure: panel(attack, own) };
  });
}

function countsOf(points: readonly RobustnessPoint[]): { low: number; high: number } {
  const counts = points.map(({ images }) => images);
  return { low: Math.min(...counts), high: Math.max(...counts) };
}

function panel(attack: TransformName, points: readonly RobustnessPoint[]): Figure {
  const axis = { ...axisStyle, type: "value" as const };
  return {
    width: 340,
    height: 240,
    option: {
      grid: { left: 58, top: 12, width: 268, height: 172 },
      xAxis: {
        ...axis,
        name: attackTitles[attack].unit,
        nameGap: 28,
        min: Math.min(...strengthRanges[attack]),
        max: Math.max(...strengthRanges[attack]),
        // Harsher to the right.
        inverse: isFalling(attack),
        splitNumber: 4,
        axisLabel: { ...axisStyle.axisLabel, formatter: shortNumber },
      },
      yAxis: {
        ...axis,
        name: "rate",
        nameGap: 44,
        min: 0,
        max: 1,
        interval: 0.25,
        axisLabel: { ...axisStyle.axisLabel, formatter: percentLabel },
      },
      series: lines.map(({ name, color }) => ({
        type: "line" as const,
        ...still,
        name: aboutFigure(name).title,
        color,
        symbol: "circle",
        symbolSize: 4,
        lineStyle: { width: 2 },
        data: points.flatMap(({ strength, figures }) => {
          const { value } = figures[name];
          return value === null ? [] : [[strength, value]];
        }),
      })),
    },
  };
}

/** Whether lower strengths are harsher. */
function isFalling(attack: TransformName): boolean {
  const [first, second] = strengthRanges[attack];
  return second < first;
}
