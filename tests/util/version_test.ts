/** The commit that the program says it runs from, by the files of a repository. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { commitOf } from "../../util/version.ts";
import { withFolder } from "../attribution/files.ts";

const [first, second] = ["a", "b"].map((digit) => digit.repeat(40));

Deno.test("commitOf() follows HEAD to a branch, packed or not, and from a further work tree", async () => {
  await withFolder(async (dir) => {
    assert.equal(commitOf(dir), undefined);
    const git = join(dir, ".git");
    await Deno.mkdir(join(git, "refs", "heads"), { recursive: true });
    await Deno.writeTextFile(join(git, "HEAD"), `${first}\n`);
    assert.equal(commitOf(dir), first);
    await Deno.writeTextFile(join(git, "HEAD"), "ref: refs/heads/main\n");
    assert.equal(commitOf(dir), undefined, "a branch without commits");
    await Deno.writeTextFile(join(git, "packed-refs"), `# pack-refs with: peeled\n${first} refs/heads/main\n`);
    assert.equal(commitOf(dir), first);
    await Deno.writeTextFile(join(git, "refs", "heads", "main"), `${second}\n`);
    assert.equal(commitOf(dir), second);

    const tree = join(dir, "tree"), own = join(git, "worktrees", "tree");
    await Deno.mkdir(tree);
    await Deno.mkdir(own, { recursive: true });
    await Deno.writeTextFile(join(tree, ".git"), `gitdir: ${own}\n`);
    await Deno.writeTextFile(join(own, "HEAD"), "ref: refs/heads/main\n");
    await Deno.writeTextFile(join(own, "commondir"), "../..\n");
    assert.equal(commitOf(tree), second);
    await Deno.writeTextFile(join(own, "HEAD"), "../../secret\n");
    assert.equal(commitOf(tree), undefined, "what is no commit is not said");
  });
  assert.equal(commitOf(undefined), undefined);
});
