"""The GoogleTest binaries of the build folder."""

import os

import lit.formats

root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
build = lit_config.params.get("build", os.path.join(root, "build"))

config.name = "attn-unit"
config.test_format = lit.formats.GoogleTest(".", "")
config.suffixes = []
config.test_source_root = os.path.join(build, "bin", "unit")
config.test_exec_root = os.path.join(build, "bin", "unit")
config.environment["ATTN_BUILD"] = build
config.environment["ATTN_ROOT"] = root
config.environment["TSAN_OPTIONS"] = "suppressions=" + os.path.join(root, "test", "tsan.supp")
