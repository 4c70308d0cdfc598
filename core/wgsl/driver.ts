/**
 * Why a card is not seen although its driver is there. Deno lets no program look into /proc and /dev without all
 * permissions, so this goes by the driver's libraries and manifests.
 */

/** Where distributions, NVIDIA's container runtime and WSL put libraries. */
const libraryFolders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib/wsl/lib"];
/** Where the Vulkan loader looks for manifests of drivers. */
const manifestFolders = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"];

/** Whether a file exists; false where the program may not know, and nobody is asked. */
function existsFile(path: string): boolean {
  try {
    if (Deno.permissions.querySync({ name: "read", path }).state !== "granted") return false;
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

/**
 * What keeps an NVIDIA card from Vulkan, as a sentence; undefined where no NVIDIA driver is found. `exists` says whether
 * a file is there.
 */
export function hiddenCard(exists: (path: string) => boolean = existsFile): string | undefined {
  if (typeof Deno === "undefined" || Deno.build.os !== "linux") return undefined;
  const anywhere = (folders: readonly string[], file: string) => folders.some((folder) => exists(`${folder}/${file}`));
  if (!anywhere(libraryFolders, "libcuda.so.1")) return undefined;
  const parts = ["libGLX_nvidia.so.0", "libvulkan.so.1"].filter((file) => !anywhere(libraryFolders, file));
  if (!anywhere(manifestFolders, "nvidia_icd.json")) parts.push("nvidia_icd.json");
  return parts.length > 0
    ? `NVIDIA's CUDA driver is here, but for Vulkan ${parts.join(" and ")} ${
      parts.length > 1 ? "are" : "is"
    } missing ` +
      "(libvulkan1 has the loader; containers need NVIDIA_DRIVER_CAPABILITIES=all; see docs/gpu.md)"
    : "NVIDIA's driver for Vulkan is here, but it offers no card: slices of a card (MIG) have no Vulkan, and a process " +
      "sees no card whose device file it may not open (see docs/gpu.md)";
}
