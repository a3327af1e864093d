# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The type stubs against the package: the same names, the same parameters, the same defaults."""

import ast
import importlib
import importlib.util
import inspect
import pathlib
import re
import unittest

import attn

FOLDER = pathlib.Path(attn.__file__).parent
# What a module must have for its own import.
NEEDS = {"torch": "torch", "jax": "jax", "transformers": "transformers"}


def stub_of(name):
    return ast.parse((FOLDER / f"{name}.pyi").read_text()).body


def names_of(body):
    """The public names that a stub declares, imports "x as x" included."""
    found = set()
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.AnnAssign):
            found.add(node.target.id)
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname for alias in node.names if alias.asname}
    return {name for name in found if not name.startswith("_") or name == "__version__"}


def parameters_of(node):
    """(name, kind, default as it is written) for each parameter but self."""
    plain = node.args.args
    defaults = [None] * (len(plain) - len(node.args.defaults)) + node.args.defaults
    found = [(argument.arg, "plain", default) for argument, default in zip(plain, defaults) if argument.arg != "self"]
    found += [(argument.arg, "keyword", default) for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults)]
    if node.args.kwarg:
        found.append((node.args.kwarg.arg, "others", None))
    return [(name, kind, default and ast.literal_eval(default), default is not None) for name, kind, default in found]


def parameters_at_run_time(function):
    signature = getattr(function, "__nb_signature__", None)
    if signature:  # a function of the extension: its signature is text, with its defaults beside it
        text, _, defaults = signature[0]
        text = re.sub(r"(ndarray|ArrayLike)\[[^]]*\]", "object", text)  # no Python
        text = re.sub(r"\\(\d+)", lambda match: repr(defaults[int(match.group(1))]), text)
        node = ast.parse(text + ": ...").body[0]
        return parameters_of(node)
    kinds = {inspect.Parameter.POSITIONAL_OR_KEYWORD: "plain", inspect.Parameter.KEYWORD_ONLY: "keyword",
             inspect.Parameter.VAR_KEYWORD: "others"}
    return [(p.name, kinds[p.kind], None if p.default is p.empty else p.default, p.default is not p.empty)
            for p in inspect.signature(function).parameters.values() if p.name != "self"]


class Stubs(unittest.TestCase):
    def modules(self):
        for path in sorted(FOLDER.glob("*.pyi")):
            if importlib.util.find_spec(NEEDS.get(path.stem, "attn")):
                name = "attn" if path.stem == "__init__" else f"attn.{path.stem}"
                yield path.stem, importlib.import_module(name)

    def test_every_public_name_is_there(self):
        for stem, module in self.modules():
            public = set(getattr(module, "__all__", [])) or {name for name in dir(module) if not name.startswith("_")}
            self.assertLessEqual(public, names_of(stub_of(stem)), stem)
        # A type of a stub alone is told from what can be imported.
        self.assertEqual(names_of(stub_of("__init__")) - set(attn.__all__), {"Picture"})
        self.assertIn("_attn", [stem for stem, _ in self.modules()])

    def test_every_module_has_one(self):
        modules = {path.stem for path in FOLDER.glob("*.py")} - {"api", "arrays", "problem", "trace"}  # not for users
        self.assertEqual({path.stem for path in FOLDER.glob("*.pyi")}, modules | {"_attn"})
        self.assertTrue((FOLDER / "py.typed").exists())

    def test_the_parameters_agree(self):
        seen = 0
        for stem, module in self.modules():
            for node in stub_of(stem):
                if isinstance(node, ast.FunctionDef):
                    self.assertEqual(parameters_of(node), parameters_at_run_time(getattr(module, node.name)), f"{stem}.{node.name}")
                    seen += 1
                elif isinstance(node, ast.ClassDef):
                    owner = getattr(module, node.name, None) or getattr(attn.api, node.name)
                    for member in (m for m in node.body if isinstance(m, ast.FunctionDef)):
                        found = getattr(owner, member.name)
                        if any(ast.unparse(d) == "property" for d in member.decorator_list):
                            self.assertNotIsInstance(found, type(lambda: 0), f"{stem}.{node.name}.{member.name}")
                        else:
                            self.assertEqual(parameters_of(member), parameters_at_run_time(found),
                                             f"{stem}.{node.name}.{member.name}")
                        seen += 1
                    public = {name for name in vars(owner) if not name.startswith("_")}
                    self.assertLessEqual(public, names_of(node.body), f"{stem}.{node.name}")
        self.assertGreater(seen, 60)


if __name__ == "__main__":
    unittest.main()
