"""The compiled part of the package, left out where it cannot be built; all else is in pyproject.toml."""

from setuptools import Extension, setup

kernels = Extension(
    "googol.distributions._kernels",
    sources=["src/googol/distributions/_kernels.c"],
    depends=[f"src/googol/distributions/_kernels{part}.h" for part in ("", "_blocks", "_conditionals")],
    extra_compile_args=["-O3", "-g0", "-ffp-contract=fast"],
    libraries=["m"],
    py_limited_api=True,
    optional=True,
)
setup(ext_modules=[kernels])
