"""Times PyTorch on networks of the same layers and sizes as ours, with random weights: plain operations, batch by batch.

It is a yardstick for speed only and deliberately not an implementation of the models: no checkpoint fits it.

By hand:    OMP_WAIT_POLICY=PASSIVE python3 bench/torch_compare.py --repeat 5 rarb vqvae-encoder
On a GPU:   python3 bench/torch_compare.py --device cuda --precision float32, tf32 or bf16 (autocast)
As server:  python3 bench/torch_compare.py --serve, then one JSON object per line on standard input:
            {"case": "rarb", "batch": 1}                          runs once, answers {"seconds": s}
            {"case": "matmul", "sizes": [m, n, k]}                likewise, [batch, h, w, cIn, cOut, k] for conv,
            {"case": "attention", "sizes": [batch, heads, headDim, rows], "blocks": [1, 4, 9]}
            {"drop": true}                                        frees the network that is open
            {"case": "rarb-step", "batch": 8}                     a token of 8 images, with guidance
            Passes run without autograd; "...-training" are steps of forward, backward and Adam.
The first run of a network builds it and warms it up; "runs" repeats a short one so that timing it makes sense.
"""
import argparse
import json
import sys
import time

try:
    import torch
except ImportError:
    sys.exit("torch_compare.py: this Python has no torch; on Debian or Ubuntu: apt-get install python3-torch")
import torch.nn.functional as F


# What a training step updates: everything that a network was built with since this was last emptied.
PARAMETERS = []


def parameter(values):
    PARAMETERS.append(values)
    return values


def weight(*shape):
    fan_in = 1
    for size in shape[1:]:
        fan_in *= size
    return parameter(torch.randn(shape) * (1 / max(fan_in, 1)) ** 0.5)


def zeros(n):
    return parameter(torch.zeros(n))


def ones(n):
    return parameter(torch.ones(n))


def linear(k, n, bias=True):
    w, b = weight(n, k), zeros(n) if bias else None
    return lambda x: F.linear(x, w, b)


def conv(c_in, c_out, k=3, stride=1, padding=None, bias=True):
    w, b = weight(c_out, c_in, k, k), zeros(c_out) if bias else None
    pad = k // 2 if padding is None else padding
    return lambda x: F.conv2d(x, w, b, stride=stride, padding=pad)


def group_norm(c, activate=True):
    w, b = ones(c), zeros(c)

    def run(x):
        y = F.group_norm(x, 32, w, b, 1e-6)
        return F.silu(y) if activate else y

    return run


def chain(*layers):
    def run(x):
        for layer in layers:
            x = layer(x)
        return x

    return run


def upsample(x):
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


# --- tokenizers: images [batch, 3, 256, 256] and latents [batch, c, 16, 16] ---

LEVELS = [1, 1, 2, 2, 4]


def maskgit_block(c_in, c_out):
    layers = chain(
        group_norm(c_in), conv(c_in, c_out, bias=False), group_norm(c_out), conv(c_out, c_out, bias=False)
    )
    if c_in == c_out:
        return lambda x: x + layers(x)
    shortcut = conv(c_out, c_out, 1, bias=False)

    def run(x):
        h = layers(x)
        return h + shortcut(h)

    return run


def maskgit_encoder():
    widths = [128 * m for m in LEVELS]
    layers, c = [conv(3, 128, bias=False)], 128
    for i, width in enumerate(widths):
        layers += [maskgit_block(c, width), maskgit_block(width, width)]
        c = width
        if i < 4:
            layers.append(lambda x: F.avg_pool2d(x, 2, 2))
    layers += [maskgit_block(c, c), maskgit_block(c, c), group_norm(c), conv(c, 256, 1)]
    return chain(*layers)


def maskgit_decoder():
    widths = [128 * m for m in LEVELS]
    c = widths[-1]
    layers = [conv(256, c), maskgit_block(c, c), maskgit_block(c, c)]
    for i in reversed(range(5)):
        layers += [maskgit_block(c, widths[i]), maskgit_block(widths[i], widths[i])]
        c = widths[i]
        if i > 0:
            layers += [upsample, conv(c, c)]
    return chain(*layers, group_norm(c), conv(c, 3))


def vqvae_block(c_in, c_out):
    layers = chain(group_norm(c_in), conv(c_in, c_out), group_norm(c_out), conv(c_out, c_out))
    shortcut = (lambda x: x) if c_in == c_out else conv(c_in, c_out, 1)
    return lambda x: shortcut(x) + layers(x)


def vqvae_attention(c):
    norm, qkv, out = group_norm(c, activate=False), conv(c, 3 * c, 1), conv(c, c, 1)

    def run(x):
        batch, _, h, w = x.shape
        q, k, v = qkv(norm(x)).reshape(batch, 3, c, h * w).unbind(1)
        scores = F.softmax(torch.bmm(q.transpose(1, 2), k) * c**-0.5, dim=2)
        return x + out(torch.bmm(v, scores.transpose(1, 2)).reshape(batch, c, h, w))

    return run


def vqvae_middle(c):
    return [vqvae_block(c, c), vqvae_attention(c), vqvae_block(c, c)]


def vqvae_encoder(ch=160, z=32, latent=(32, 3)):
    """`latent`: channels of a code, and the size of the convolution that makes them. LlamaGen's VQ-16 is of this kind."""
    widths = [ch * m for m in LEVELS]
    layers, c = [conv(3, ch)], ch
    for i, width in enumerate(widths):
        for _ in range(2):
            layers.append(vqvae_block(c, width))
            c = width
            if i == 4:
                layers.append(vqvae_attention(c))
        if i < 4:
            layers.append(chain(lambda x: F.pad(x, (0, 1, 0, 1)), conv(c, c, stride=2, padding=0)))
    return chain(*layers, *vqvae_middle(c), group_norm(c), conv(c, z), conv(z, *latent))


def vqvae_decoder(ch=160, z=32, latent=(32, 3)):
    widths = [ch * m for m in LEVELS]
    c = widths[-1]
    layers = [conv(latent[0], z, latent[1]), conv(z, c), *vqvae_middle(c)]
    for i in reversed(range(5)):
        for _ in range(3):
            layers.append(vqvae_block(c, widths[i]))
            c = widths[i]
            if i == 4:
                layers.append(vqvae_attention(c))
        if i > 0:
            layers += [upsample, conv(c, c)]
    return chain(*layers, group_norm(c), conv(c, 3))


def training(encoder):
    """One step of fine-tuning: squared error between the encoder's latents and given ones, its gradients, Adam."""

    def build():
        PARAMETERS.clear()
        network = encoder()
        optimizer = torch.optim.Adam([values.requires_grad_() for values in PARAMETERS], lr=5e-5)

        def step(batch):
            images, latents = batch
            optimizer.zero_grad(set_to_none=True)
            F.mse_loss(network(images), latents).backward()
            optimizer.step()

        return step

    return build


# --- transformers ---


def masked_attention(q, k, v, mask, scale):
    """q, k, v [batch, heads, rows, head]; mask [rows, rows] or None is added to the scores. Fused from PyTorch 2.0 on."""
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q * (scale * q.shape[-1] ** 0.5), k, v, attn_mask=mask)
    scores = (q * scale) @ k.transpose(-2, -1)
    return (scores if mask is None else scores.add_(mask)).softmax(dim=-1) @ v


def prefix_mask(visible):
    rows = len(visible)
    mask = torch.zeros(rows, rows)
    for i, count in enumerate(visible):
        mask[i, count:] = float("-inf")
    return mask


def block_visible(blocks):
    visible, end = [], 0
    for size in blocks:
        end += size
        visible += [end] * size
    return visible


def rar_weights(d, layers, inner, head):
    return [
        {
            "ada": linear(d, 6 * d), "qkv": linear(d, 3 * d), "proj": linear(d, d),
            "fc1": linear(d, inner), "fc2": linear(inner, d),
            "n1": (torch.ones(d), torch.zeros(d)), "n2": (torch.ones(d), torch.zeros(d)),
            "nq": (torch.ones(head), torch.zeros(head)), "nk": (torch.ones(head), torch.zeros(head)),
        }
        for _ in range(layers)
    ]


def rar_blocks(x, condition, blocks, heads, attend):
    """attend(i, q, k, v) is the attention of block i; q, k, v [batch, heads, rows, head]."""
    batch, rows, d = x.shape
    head = d // heads
    for i, w in enumerate(blocks):
        shift1, scale1, gate1, shift2, scale2, gate2 = w["ada"](condition).chunk(6, dim=-1)
        h = F.layer_norm(x, (d,), *w["n1"], 1e-6) * (1 + scale1) + shift1
        q, k, v = w["qkv"](h).reshape(batch, rows, 3, heads, head).permute(2, 0, 3, 1, 4).unbind(0)
        q, k = F.layer_norm(q, (head,), *w["nq"], 1e-6), F.layer_norm(k, (head,), *w["nk"], 1e-6)
        y = attend(i, q, k, v).transpose(1, 2).reshape(batch, rows, d)
        x = x + gate1 * w["proj"](y)
        h = F.layer_norm(x, (d,), *w["n2"], 1e-6) * (1 + scale2) + shift2
        x = x + gate2 * w["fc2"](F.gelu(w["fc1"](h)))
    return x


def rar(d, layers, inner, heads=16, rows=258, codes=1024):
    """Every row has its own modulation, as in the official code: it depends on the position."""
    head, mask = d // heads, prefix_mask(range(1, rows + 1))
    blocks = rar_weights(d, layers, inner, head)
    head_ada, lm_head = linear(d, 2 * d), linear(d, codes)
    steps, positions = torch.randn(1, rows, d), torch.randn(1, rows, d)
    embeddings = torch.randn(codes + 1002, d) * 0.5

    def run(tokens):
        x = F.embedding(tokens, embeddings) + positions
        condition = F.silu(x[:, 1:2] + steps)
        x = rar_blocks(x, condition, blocks, heads, lambda i, q, k, v: masked_attention(q, k, v, mask, head**-0.5))
        scale, shift = head_ada(condition).chunk(2, dim=-1)
        x = F.layer_norm(x, (d,), None, None, 1e-6) * (1 + scale) + shift
        return lm_head(x[:, 1:])

    return run


def rar_step(d, layers, inner, heads=16, codes=1024, seen=128, factor=3.0):
    """A token of every image: two rows each, for guidance, over kept keys and values of `seen` rows, and the draw."""
    head = d // heads
    blocks = rar_weights(d, layers, inner, head)
    head_ada, lm_head = linear(d, 2 * d), linear(d, codes)
    position, step = torch.randn(1, 1, d), torch.randn(1, 1, d)
    embeddings, classes = torch.randn(codes, d) * 0.5, torch.randn(1001, d) * 0.5
    kept = {}

    def attend(i, q, k, v):
        size = (*k.shape[:2], seen + 1, head)
        if i not in kept or kept[i][0].shape != size:
            kept[i] = [torch.zeros(size, dtype=values.dtype) for values in (k, v)]
        keys, values = kept[i]
        keys[:, :, seen:], values[:, :, seen:] = k, v
        return masked_attention(q, keys, values, None, head**-0.5)

    def run(tokens):
        images = len(tokens)
        x = F.embedding(tokens, embeddings).repeat(2, 1).unsqueeze(1) + position
        labels = torch.tensor([7] * images + [1000] * images)
        condition = F.silu(F.embedding(labels, classes).unsqueeze(1) + step)
        x = rar_blocks(x, condition, blocks, heads, attend)
        scale, shift = head_ada(condition).chunk(2, dim=-1)
        logits = lm_head(F.layer_norm(x, (d,), None, None, 1e-6) * (1 + scale) + shift)[:, 0]
        guided, free = logits.float().chunk(2)
        return torch.multinomial((free + factor * (guided - free)).softmax(dim=-1), 1)

    return run


SCALES = [pn * pn for pn in (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)]


def var(depth, codes=4096):
    d, heads, rows, visible = 64 * depth, depth, sum(SCALES), block_visible(SCALES)
    mask = prefix_mask(visible)
    blocks = [
        {
            "ada": linear(d, 6 * d), "qkv": linear(d, 3 * d), "proj": linear(d, d),
            "fc1": linear(d, 4 * d), "fc2": linear(4 * d, d), "scale": torch.full((1, heads, 1, 1), 4.0),
        }
        for _ in range(depth)
    ]
    head_ada, lm_head, word_embed = linear(d, 2 * d), linear(d, codes), linear(32, d)
    positions, classes = torch.randn(1, rows, d), torch.randn(1001, d) * 0.5

    def run(inputs):
        batch = inputs.shape[0]
        embedded = classes[torch.full((batch,), 7)].unsqueeze(1)
        x = torch.cat([embedded, word_embed(inputs)], dim=1) + positions
        condition = F.silu(embedded)
        for w in blocks:
            gate1, gate2, scale1, scale2, shift1, shift2 = w["ada"](condition).chunk(6, dim=-1)
            h = F.layer_norm(x, (d,), None, None, 1e-6) * (1 + scale1) + shift1
            q, k, v = w["qkv"](h).reshape(batch, rows, 3, heads, 64).permute(2, 0, 3, 1, 4).unbind(0)
            q, k = F.normalize(q, dim=-1) * w["scale"], F.normalize(k, dim=-1)
            y = masked_attention(q, k, v, mask, 1.0).transpose(1, 2).reshape(batch, rows, d)
            x = x + gate1 * w["proj"](y)
            h = F.layer_norm(x, (d,), None, None, 1e-6) * (1 + scale2) + shift2
            x = x + gate2 * w["fc2"](F.gelu(w["fc1"](h), approximate="tanh"))
        scale, shift = head_ada(condition).chunk(2, dim=-1)
        return lm_head(F.layer_norm(x, (d,), None, None, 1e-6) * (1 + scale) + shift)

    return run


def llamagen(d, layers, heads, inner, rows=256, codes=16384):
    """LLaMA's blocks: RMSNorm, rotary positions of neighbouring channels, SwiGLU, no biases."""
    head, mask = d // heads, prefix_mask(range(1, rows + 1))
    blocks = [
        {
            "qkv": linear(d, 3 * d, False), "wo": linear(d, d, False), "n1": ones(d), "n2": ones(d),
            "w1": linear(d, inner, False), "w3": linear(d, inner, False), "w2": linear(inner, d, False),
        }
        for _ in range(layers)
    ]
    last, output, tokens_table = ones(d), linear(d, codes, False), torch.randn(codes, d) * 0.5
    angles = torch.rand(rows, 1, head // 2) * 6.28
    cos, sin = angles.cos(), angles.sin()
    norm = lambda x, w: x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * w

    def turn(x):
        a, b = x.reshape(*x.shape[:-1], head // 2, 2).unbind(-1)
        return torch.stack([a * cos - b * sin, b * cos + a * sin], dim=-1).flatten(-2)

    def run(tokens):
        x, batch = F.embedding(tokens, tokens_table), tokens.shape[0]
        for w in blocks:
            q, k, v = w["qkv"](norm(x, w["n1"])).reshape(batch, rows, 3, heads, head).unbind(2)
            q, k, v = (y.transpose(1, 2) for y in (turn(q), turn(k), v))
            x = x + w["wo"](masked_attention(q, k, v, mask, head**-0.5).transpose(1, 2).reshape(batch, rows, d))
            h = norm(x, w["n2"])
            x = x + w["w2"](F.silu(w["w1"](h)) * w["w3"](h))
        return output(norm(x, last))

    return run


def matmul_case(m, n, k):
    b = weight(n, k)
    return (lambda a: F.linear(a, b)), lambda: torch.randn(m, k)


def conv_case(batch, h, w, c_in, c_out, k):
    return conv(c_in, c_out, k), lambda: torch.randn(batch, c_in, h, w)


def attention_case(batch, heads, head, rows, blocks):
    mask = prefix_mask(block_visible(blocks))
    run = lambda qkv: masked_attention(*qkv, mask, head**-0.5)
    return run, lambda: torch.randn(3, batch, heads, rows, head)


IMAGE, RAR_LATENT, VAR_LATENT = (3, 256, 256), (256, 16, 16), (32, 16, 16)
PASSES = {
    "maskgit-vq-encoder": (maskgit_encoder, lambda batch: torch.rand(batch, *IMAGE)),
    "maskgit-vq-decoder": (maskgit_decoder, lambda batch: torch.randn(batch, *RAR_LATENT)),
    "vqvae-encoder": (vqvae_encoder, lambda batch: torch.rand(batch, *IMAGE)),
    "vqvae-decoder": (vqvae_decoder, lambda batch: torch.randn(batch, *VAR_LATENT)),
    "vq-16-encoder": (lambda: vqvae_encoder(128, 256, (8, 1)), lambda batch: torch.rand(batch, *IMAGE)),
    "vq-16-decoder": (lambda: vqvae_decoder(128, 256, (8, 1)), lambda batch: torch.randn(batch, 8, 16, 16)),
    "llamagenb": (lambda: llamagen(768, 12, 12, 2048), lambda batch: torch.randint(0, 16384, (batch, 256))),
}
RAR_TOKENS, VAR_ROWS = (lambda batch: torch.randint(0, 1024, (batch, 258))), (lambda batch: torch.randn(batch, 679, 32))
for name, sizes in {"rarb": (768, 24, 3072), "rarl": (1024, 24, 4096), "rarxl": (1280, 32, 5120)}.items():
    PASSES[name] = (lambda sizes=sizes: rar(*sizes), RAR_TOKENS)
PASSES["rarb-step"] = (lambda: rar_step(768, 24, 3072), lambda batch: torch.randint(0, 1024, (batch,)))
for depth in (16, 20, 24):
    PASSES[f"var{depth}"] = (lambda depth=depth: var(depth), VAR_ROWS)


# What builds a step, and makes its images and latents.
TRAINING = {
    "maskgit-vq-training": (
        training(maskgit_encoder), lambda batch: (torch.rand(batch, *IMAGE), torch.randn(batch, *RAR_LATENT))
    ),
    "vqvae-training": (
        training(vqvae_encoder), lambda batch: (torch.rand(batch, *IMAGE), torch.randn(batch, *VAR_LATENT))
    ),
}
NETWORKS = {**PASSES, **TRAINING}


class Runner:
    """Keeps one network open, so that memory is that of the largest."""

    def __init__(self, device="cpu", precision="float32"):
        # A GPU computes while the program goes on: its clock is read when it has finished.
        self.finish = torch.cuda.synchronize if device == "cuda" else lambda: None
        self.device, self.halves = device, precision == "bf16"
        self.drop()

    def drop(self):
        self.key = self.network = self.warm = self.input = None
        PARAMETERS.clear()

    def run(self, case, batch=1, sizes=None, blocks=None, runs=1):
        autocast = torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.halves)
        with torch.inference_mode(case not in TRAINING), autocast:
            return self.run_in_mode(case, batch, sizes, blocks, runs)

    def run_in_mode(self, case, batch, sizes, blocks, runs):
        key = (case, tuple(sizes or ()))
        if key != self.key:
            self.drop()
            if case in NETWORKS:
                build, make_input = NETWORKS[case]
                self.network, self.make_input = build(), make_input
            else:
                kinds = {"matmul": matmul_case, "conv": conv_case, "attention": attention_case}
                args = list(sizes) + ([blocks] if case == "attention" else [])
                self.network, make_input = kinds[case](*args)
                self.make_input = lambda batch: make_input()
            self.key = key
        if self.warm != batch:
            self.input = self.make_input(batch)
            self.warm_up()
            self.warm = batch
        return self.timed(runs)

    def timed(self, runs):
        self.finish()
        start = time.perf_counter()
        for _ in range(runs):
            self.network(self.input)
        self.finish()
        return (time.perf_counter() - start) / runs

    def warm_up(self):
        """Convolutions keep the order of memory (channels first or last) in which they are faster."""
        if not torch.is_tensor(self.input) or self.input.dim() != 4:
            return self.network(self.input)
        seconds = {}
        for order in (torch.contiguous_format, torch.channels_last, torch.contiguous_format):
            self.arrange(order)
            self.network(self.input)
            seconds[order] = self.timed(1)
        if seconds[torch.channels_last] < seconds[torch.contiguous_format]:
            self.arrange(torch.channels_last)

    def arrange(self, order):
        for values in PARAMETERS:
            if values.dim() == 4:
                values.data = values.data.contiguous(memory_format=order)
        self.input = self.input.contiguous(memory_format=order)


def choose(device, precision):
    """Makes everything from here on on that device; TensorFloat-32 only where it is asked for."""
    if device == "cuda":
        if not torch.cuda.is_available():
            sys.exit("torch_compare.py: this PyTorch finds no CUDA device; leave --torch-device cuda out")
        if hasattr(torch, "set_default_device"):
            torch.set_default_device("cuda")
        else:
            torch.set_default_tensor_type(torch.cuda.FloatTensor)
    elif precision != "float32":
        sys.exit(f"torch_compare.py: --precision {precision} expects --device cuda")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"


def serve(device, precision):
    """Says first how fast a 1024^3 product is, which tells an optimised BLAS from the reference one."""
    runner = Runner(device, precision)
    best = min(runner.run("matmul", sizes=[1024, 1024, 1024]) for _ in range(3))
    gflops = 2 * 1024**3 / best / 1e9
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads(), "gflops": gflops}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if request.pop("drop", False):
            runner.drop()
            print(json.dumps({}), flush=True)
        else:
            print(json.dumps({"seconds": runner.run(**request)}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(NETWORKS)}; all when none is given")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["float32", "tf32", "bf16"], default="float32")
    parser.add_argument("--serve", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    choose(options.device, options.precision)
    torch.manual_seed(1)
    if options.serve:
        return serve(options.device, options.precision)
    for case in options.cases or NETWORKS:
        if case not in NETWORKS:
            parser.error(f"no pass is called {case}")
        runner = Runner(options.device, options.precision)
        times = sorted(runner.run(case, options.batch) for _ in range(options.repeat))
        print(f"{case:20} batch {options.batch}  median {times[len(times) // 2]:.3f} s  best {times[0]:.3f} s")


if __name__ == "__main__":
    main()
