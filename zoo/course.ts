/** What all of the zoo's transformers are trained with. */

/** Classes of the photographs that everything is trained on. */
export const classCount = 10;

/** See `TransformerRecipe`. */
export const transformerCourse = { warmup: 100, weightDecay: 0.05, dropLabel: 0.1 };
