/** Ctrl-C in a task: the first one is heard at the next good moment, the second one ends it even while it waits for a device. */
import assert from "node:assert/strict";

// A task whose event loop is blocked from the first signal on, as by waiting for a card.
const program = `import { interruptible } from ${JSON.stringify(import.meta.resolve("../../tasks/cli/interrupt.ts"))};
const signal = interruptible({ note: (text) => console.log(text) });
signal.addEventListener("abort", () => {
  setTimeout(() => {
    console.log("blocked");
    for (const start = Date.now(); Date.now() - start < 20_000;);
    console.log("not heard");
  });
});
setTimeout(() => {}, 60_000);
console.log("ready");`;

if (Deno.build.os !== "windows") {
  Deno.test("the second Ctrl-C ends a task whose event loop is blocked", async () => {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-check", "--allow-read", "data:application/typescript," + encodeURIComponent(program)],
      stdout: "piped",
    }).spawn();
    let text = "";
    for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
      text += part;
      if (text.endsWith("ready\n") || text.endsWith("blocked\n")) child.kill("SIGINT");
    }
    const { success, code } = await child.status;
    assert.ok(!success);
    assert.equal(code, 130);
    assert.match(text, /^ready\ninterrupted: finishing the pass in progress \(again to stop at once\)\nblocked\n$/);
  });
}
