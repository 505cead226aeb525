"""What zeros save on disk: bytes of a ResNet-18's files at several sparsities, and the seconds it takes to write them.

uv run python tests/benchmarks/file_sizes.py
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from torchvision.models import resnet18

from core.export.sizes import file_sizes


def main() -> None:
    """Print one line per sparsity."""
    torch.manual_seed(0)
    print(f"{'sparsity':>8} {'dense':>12} {'zipped':>12} {'sparse':>12} {'bits per kept weight':>21} {'CPU s':>6}")
    for sparsity in (0.0, 0.5, 0.8, 0.9, 0.95, 0.99):
        model = resnet18(num_classes=10)
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
                    magnitudes = module.weight.abs().flatten()
                    module.weight.view(-1)[magnitudes.argsort()[: int(sparsity * magnitudes.numel())]] = 0.0
        start = time.process_time()
        sizes = file_sizes(model)
        spent_s = time.process_time() - start
        bits = 8 * sizes["sparse_bytes"] / sizes["nonzero"]
        columns = " ".join(f"{sizes[key]:>12,}" for key in ("dense_bytes", "dense_zstd_bytes", "sparse_bytes"))
        print(f"{sparsity:>8.0%} {columns} {bits:>21.1f} {spent_s:>6.1f}")


if __name__ == "__main__":
    main()
