/** What was made of an object, for as long as it would be made of the same things. */
export class Remembered<T> {
  readonly #known = new WeakMap<object, { readonly parts: readonly unknown[]; readonly value: T }>();

  /** The value of `key`, made anew if one of `parts` is not identical to what it was. It is forgotten with the key. */
  of(key: object, parts: readonly unknown[], make: () => T): T {
    const last = this.#known.get(key);
    if (last !== undefined && last.parts.every((part, i) => part === parts[i])) return last.value;
    const value = make();
    this.#known.set(key, { parts, value });
    return value;
  }
}
