"""Times the reference's optimised quantisation in PyTorch: softmax over all codes, fHat, loss, autograd, Adam.

Plain operations on the tensors of a safetensors file (f, tokens, codebook, phi.<k>.weight and .bias), written by
bench/quantisation.ts, which runs it. It times the first iterations of the first image, or with --whole the whole schedule
of every image, one after the other.

By hand: OMP_WAIT_POLICY=PASSIVE python3 bench/quantisation_torch.py FILE --iterations 20 --repeat 3
Prints one JSON object: seconds per iteration of every repetition and the losses of the first, or with --whole seconds,
errors and tokens of every image.
"""
import argparse
import json
import struct
import sys
import time

try:
    import torch
except ImportError:
    sys.exit("quantisation_torch.py: this Python has no torch; on Debian or Ubuntu: apt-get install python3-torch")
import torch.nn.functional as F


def read_safetensors(path):
    with open(path, "rb") as file:
        data = file.read()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    tensors = {}
    for name, info in header.items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + at for at in info["data_offsets"])
        dtype = {"F32": torch.float32, "I32": torch.int32}[info["dtype"]]
        tensors[name] = torch.frombuffer(bytearray(data[begin:end]), dtype=dtype).reshape(info["shape"])
    return header.get("__metadata__", {}), tensors


class Quantiser:
    def __init__(self, tensors, patch_nums, phi_of):
        self.codebook = tensors["codebook"]
        self.patch_nums = patch_nums
        self.phi = [(tensors[f"phi.{k}.weight"], tensors[f"phi.{k}.bias"]) for k in phi_of]

    def f_hat(self, codes):
        """Code vectors of every scale, [batch, pn * pn, c] each -> [batch, c, side, side]."""
        side = self.patch_nums[-1]
        total = 0
        for z, pn, (weight, bias) in zip(codes, self.patch_nums, self.phi):
            h = z.transpose(1, 2).reshape(z.shape[0], -1, pn, pn)
            if pn != side:
                h = F.interpolate(h, size=(side, side), mode="bicubic")
            total = total + 0.5 * h + 0.5 * F.conv2d(h, weight, bias, padding=1)
        return total

    def soft_assign(self, f, tokens, iterations, free, lr=0.1, tau_start=2.0, tau_end=0.5):
        """The first `free` scales from the given tokens, the others fixed. Returns tokens, losses, and seconds per
        iteration without the first."""
        logits = []
        for own in tokens[:free]:
            start = torch.zeros(*own.shape, self.codebook.shape[0]).scatter_(2, own.unsqueeze(-1), 0.5)
            logits.append(start.requires_grad_(True))
        fixed = [self.codebook[own] for own in tokens[free:]]
        adam = torch.optim.Adam(logits, lr=lr)
        losses, begin = [], time.perf_counter()
        for t in range(iterations):
            if t == 1:
                begin = time.perf_counter()
            tau = tau_start * (tau_end / tau_start) ** (t / max(iterations - 1, 1))
            adam.zero_grad(set_to_none=True)
            soft = [torch.softmax(l / tau, -1) @ self.codebook for l in logits]
            loss = 0.5 * F.mse_loss(self.f_hat(soft + fixed), f)
            loss.backward()
            adam.step()
            losses.append(loss.item())
        seconds = (time.perf_counter() - begin) / max(iterations - 1, 1)
        return [l.detach().argmax(-1) for l in logits] + list(tokens[free:]), losses, seconds

    def whole(self, f, tokens, iterations, stop):
        """All calls of the schedule for one image. Returns tokens, the final error and seconds."""
        begin = time.perf_counter()
        for free in range(len(tokens), stop, -1):
            tokens, _, _ = self.soft_assign(f, tokens, iterations, free)
        seconds = time.perf_counter() - begin
        with torch.no_grad():
            error = F.mse_loss(self.f_hat([self.codebook[own] for own in tokens]), f).item()
        return torch.cat(tokens, 1), error, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--stop", type=int, default=4)
    options = parser.parse_args()
    if options.threads > 0:
        torch.set_num_threads(options.threads)
    metadata, tensors = read_safetensors(options.file)
    patch_nums = json.loads(metadata["patchNums"])
    quantiser = Quantiser(tensors, patch_nums, json.loads(metadata["phiOf"]))
    latents = tensors["f"].split(1)
    images = [own.long().split([pn * pn for pn in patch_nums], dim=1) for own in tensors["tokens"].split(1)]
    result = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    if options.whole:
        runs = [quantiser.whole(f, own, options.iterations, options.stop) for f, own in zip(latents, images)]
        result["seconds"] = [seconds for _, _, seconds in runs]
        result["errors"] = [error for _, error, _ in runs]
        result["tokens"] = [tokens.flatten().tolist() for tokens, _, _ in runs]
    else:
        runs = [
            quantiser.soft_assign(latents[0], images[0], options.iterations, len(patch_nums))
            for _ in range(options.repeat)
        ]
        result["secondsPerIteration"] = [seconds for _, _, seconds in runs]
        result["losses"] = runs[0][1]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
