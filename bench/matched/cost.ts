/**
 * What the figures of docs/matched.md cost, counted from the recipe's configurations; no network is needed:
 * deno run -A bench/matched/cost.ts
 *
 * Counted are the operations of networks as plans count them (attribution/run/work_model.ts). Averages over settings of
 * samplers and optimised quantisation come on top.
 */
import { type CostedWork, stageCosts } from "../../attribution/run/work_model.ts";
import { expectedFlops } from "../../attribution/run/run_plan.ts";
import { leastWithoutTraces } from "../../attribution/calibration/fit_joint.ts";
import { openShareOf } from "../../attribution/run/choice.ts";
import { defaultInference } from "../../attribution/likelihood/class_inference.ts";
import { markdownTable } from "../../attribution/evaluation/format.ts";
import { familyNamed } from "../../models/registry.ts";
import type { ModelSet } from "../../models/model_set.ts";
import { testOutliers } from "../../zoo/dataset_plan.ts";
import { comparedBudgets, knownForBudgets } from "./budgets.ts";
import { isStranger } from "./draws.ts";
import { matchedDataset } from "../../zoo/matched/dataset.ts";
import type { ZooRecipe } from "../../zoo/recipe.ts";
import { zooRecipes } from "../../zoo/recipes.ts";

/** What is known of a recipe's networks before they are trained. */
type Facts = Pick<ModelSet, "families" | "variants" | "tokenizerFacts" | "variantFacts">;

function factsOf({ families }: ZooRecipe, only = Object.keys(families)): Facts {
  const rows = only.flatMap((family) => families[family].transformers);
  return {
    families: only,
    variants: (family) => families[family].transformers.map(({ name }) => name),
    tokenizerFacts: (family) => familyNamed(family).tokenizerFacts(families[family].tokenizers[family].network.config),
    variantFacts: (name) => {
      const { network } = rows.find((row) => row.name === name)!;
      return familyNamed(network.kind).variantFacts(network.config);
    },
  };
}

/** Images, and operations for one of them. */
interface Step {
  readonly title: string;
  readonly images: number;
  readonly flops: number;
}

/** The steps of measuring a recipe's set on its dataset. */
export function matchedCosts(recipe: ZooRecipe = zooRecipes.matched, plan = matchedDataset): Step[] {
  const all = factsOf(recipe);
  const flops = (work: CostedWork, facts = all) => expectedFlops(stageCosts(facts, work));
  const variants = all.families.flatMap((family) => all.variants(family)).length;
  const counts = Object.entries(testOutliers(plan)), sum = (rows: typeof counts) => rows.reduce((n, [, k]) => n + k, 0);
  const { train, val, test } = plan, outliers = sum(counts), validated = sum(Object.entries(val.outliers));
  const tested = test.each * variants + outliers;
  const ordinary = sum(counts.filter(([source]) => !isStranger(source)));
  const joint = { signals: "core", condition: "infer", search: "quick", openShare: openShareOf("joint", 2) } as const;
  const scored = (family: string) => {
    const own = factsOf(recipe, [family]);
    return flops({ signals: "core", condition: "infer" }, own) - flops({ signals: "core" }, own);
  };
  // Two processed copies of every image, and two of a generated one off its grid.
  const generated = (train.each + val.each) * variants, calibrated = 5 * generated + 3 * validated;
  // Those of a family and their copies are scored by its variants, and some without traces.
  const likelihoods = all.families.reduce((sum, family) => {
    const own = 3 * (train.each + val.each) * all.variants(family).length;
    return sum + (own + leastWithoutTraces) * scored(family);
  }, 0);
  const budgetsStep = (): Step => {
    const perFamily = all.families.map((family) => {
      const facts = factsOf(recipe, [family]), images = (test.each + train.each) * facts.variants(family).length;
      // Where true tokens are scored, found ones have been before, at the cheapest budget.
      const again = family in knownForBudgets ? comparedBudgets.slice(-1) : [];
      const scorings = [...comparedBudgets, ...again].reduce((sum, budget) => {
        const inference = { ...defaultInference, ...budget };
        return sum + flops({ signals: "core", condition: "infer", inference }, facts) -
          flops({ signals: "core" }, facts);
      }, 0);
      return { images, flops: images * (flops({ signals: "core" }) + scorings) };
    });
    const images = perFamily.reduce((n, row) => n + row.images, 0);
    return {
      title: "`matched.ts budgets`, four budgets",
      images,
      flops: perFamily.reduce((sum, row) => sum + row.flops, 0) / images,
    };
  };
  return [
    {
      title: "`calibrate`, with two processed copies",
      images: calibrated,
      flops: flops({ signals: "all" }) + likelihoods / calibrated,
    },
    { title: "`evaluate` by `joint` alone", images: tested, flops: flops({ ...joint, signals: "all" }) },
    ...all.families.flatMap((family): Step[] => {
      const own = factsOf(recipe, [family]), members = own.variants(family).length;
      const each = (condition: "infer" | "given") =>
        flops({ signals: "core", condition }, own) - flops({ signals: "core" }, own);
      return [
        {
          title: `\`matched.ts signals\`, ${family}, two encoders`,
          images: 2 * (test.each * members + ordinary),
          flops: flops({ signals: "all" }, own),
        },
        {
          title: `\`matched.ts likelihoods\`, ${family}, four cases`,
          images: (test.each + train.each) * members,
          flops: flops({ signals: "core" }) + 2 * (each("infer") + each("given")),
        },
      ];
    }),
    budgetsStep(),
    {
      title: "`matched.ts methods`",
      images: tested,
      flops: flops({ ...joint, signals: "all", openShare: 1 }),
    },
    { title: "`matched.ts processing`", images: 2 * tested, flops: flops(joint) },
  ];
}

if (import.meta.main) {
  const rows = matchedCosts().map(({ title, images, flops }) => [
    ...[title, String(images), (flops / 1e9).toFixed(0), (images * flops / 1e12).toFixed(0)],
  ]);
  console.log(markdownTable(["step", "images", "GFLOP per image", "TFLOP"], rows));
}
