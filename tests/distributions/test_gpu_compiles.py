"""The Triton kernels as machine code of a GPU: made without one. The interpreter, which checks numbers, makes none."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

HOPPER = 90  # compute capability 9.0


def compiled(name: str, *, ring: bool, m: int = 16) -> int:
    """The bytes of the code of a kernel."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from googol.distributions import gpu

    kernel = getattr(gpu, name)
    constants = {"KEEP": True, "RING": ring, "LINES": m if ring else 1, "M": m}
    types = dict.fromkeys(kernel.arg_names, "*fp32") | {
        "log_product": "*fp64",
        "shift": "*fp64",
        "more": "fp32",
        "small": "fp32",
    }
    types |= dict.fromkeys(gpu.SIZES, "i32") | dict.fromkeys(constants, "constexpr")
    source = ASTSource(
        fn=kernel,
        signature={argument: types[argument] for argument in kernel.arg_names},
        constexprs={(i,): constants[name] for i, name in enumerate(kernel.arg_names) if name in constants},
    )
    return len(triton.compile(source, target=GPUTarget("cuda", HOPPER, 32)).asm["cubin"])


def test_every_kernel_compiles(tmp_path: Path) -> None:
    pytest.importorskip("triton")
    # The tests of numbers may have asked this process for the interpreter.
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    made = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr[-2000:]
    assert [int(size) > 1000 for size in made.stdout.split()] == [True] * 4


if __name__ == "__main__":
    for kernel, ring in itertools.product(["_forward", "_backward"], [True, False]):
        print(compiled(kernel, ring=ring))
