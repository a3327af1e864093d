//===- Module.cpp - The extension module of the Python package ------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// Only what Python cannot do: compile, and launch on memory of others. The
// package's Python files hold the interface that people see.

#include "attn/runtime/core/DLPack.h"
#include "attn/runtime/jit/Compiler.h"
#include "attn/runtime/jit/Jit.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

namespace nb = nanobind;
using namespace nb::literals;
using namespace attn;

[[noreturn]] static void raise(const Error &error) {
  if (error.code == ErrorCode::InvalidArgument)
    throw nb::value_error(error.message.c_str());
  if (error.code == ErrorCode::OutOfMemory)
    throw std::bad_alloc();
  throw std::runtime_error(error.message);
}

template <typename T>
static T valueOf(Result<T> result) {
  if (!result)
    raise(result.error());
  return std::move(*result);
}

static Tensor tensorOf(const nb::ndarray<nb::ro> &array) {
  std::vector<int64_t> shape, strides;
  for (size_t d = 0; d < array.ndim(); ++d) {
    shape.push_back(static_cast<int64_t>(array.shape(d)));
    strides.push_back(array.stride(d));
  }
  attn_tensor view = {};
  view.data = const_cast<void *>(array.data());
  view.device = {array.device_type(), array.device_id()};
  view.ndim = static_cast<int32_t>(array.ndim());
  view.dtype = {array.dtype().code, array.dtype().bits, array.dtype().lanes};
  view.shape = shape.data();
  view.strides = strides.data();
  return valueOf(dlpack::toTensor(view));
}

namespace {

/// A loaded kernel and what it was made from.
struct LoadedKernel {
  std::shared_ptr<const Executable> program;
  std::shared_ptr<const Bundle> bundle;
  std::string source;

  void run(const std::vector<nb::ndarray<nb::ro>> &arguments,
           const std::vector<nb::ndarray<>> &results,
           const std::vector<int64_t> &scalars, uintptr_t stream) const {
    std::vector<Tensor> in, out;
    for (const nb::ndarray<nb::ro> &array : arguments)
      in.push_back(tensorOf(array));
    for (const nb::ndarray<> &array : results)
      out.push_back(tensorOf(nb::ndarray<nb::ro>(array)));
    Status status;
    {
      nb::gil_scoped_release unlocked;
      status = program->run(in, out, scalars, reinterpret_cast<Stream>(stream));
    }
    if (!status)
      raise(status.error());
  }
};

/// A device and its compiler.
struct Session {
  std::shared_ptr<Device> device;
  std::string target;
  Jit jit;

  Session(const std::string &name, const std::string &options)
      : device(valueOf(openDevice(name, options))),
        target(valueOf(targetOf(*device))) {}

  LoadedKernel compile(const std::string &source, const std::string &function) {
    nb::gil_scoped_release unlocked;
    CompileRequest request = {source, function, target};
    Result<std::shared_ptr<const Bundle>> bundle = jit.compile(request);
    Result<std::shared_ptr<const Executable>> program =
        bundle ? jit.load(device, request)
               : Result<std::shared_ptr<const Executable>>(bundle.error());
    if (!program) {
      nb::gil_scoped_acquire locked;
      raise(program.error());
    }
    return {std::move(*program), std::move(*bundle), source};
  }

  /// Only compiles, for any target: the manifest and the code.
  std::pair<std::string, nb::bytes> emit(const std::string &source,
                                         const std::string &function,
                                         const std::string &wanted) {
    Result<std::shared_ptr<const Bundle>> bundle =
        invalidArgument("not compiled");
    {
      nb::gil_scoped_release unlocked;
      bundle =
          jit.compile({source, function, wanted.empty() ? target : wanted});
    }
    if (!bundle)
      raise(bundle.error());
    return {valueOf(writeManifest((*bundle)->manifest)),
            nb::bytes((*bundle)->code.data(), (*bundle)->code.size())};
  }
};

} // namespace

static std::string
makeSource(const std::string &type, std::vector<int64_t> sizes,
           const std::string &mask, std::vector<std::string> symbols,
           std::optional<double> scale, const std::string &align, bool lse) {
  AttentionSpec spec;
  std::optional<ElementType> element = parseElementType(type);
  if (!element)
    throw nb::type_error(
        ("expected element type f16, bf16 or f32, found " + type).c_str());
  spec.type = *element;
  if (sizes.size() != 7)
    throw nb::value_error("expected seven sizes");
  spec.batch = sizes[0];
  spec.queryHeads = sizes[1];
  spec.kvHeads = sizes[2];
  spec.queries = sizes[3];
  spec.keys = sizes[4];
  spec.headSize = sizes[5];
  spec.valueHeadSize = sizes[6];
  spec.mask = mask;
  spec.symbols = std::move(symbols);
  spec.scale = scale;
  spec.lse = lse;
  if (align == "start")
    spec.alignment = AttentionSpec::Alignment::Start;
  else if (align == "offset")
    spec.alignment = AttentionSpec::Alignment::Offset;
  else if (align != "end")
    throw nb::value_error(
        ("align: expected 'end', 'start' or an integer, found '" + align + "'")
            .c_str());
  return valueOf(toMlir(spec));
}

NB_MODULE(_attn, m) {
  m.doc() = "The compiler and the devices of attn.";
  m.attr("__version__") = ATTN_VERSION;

  nb::class_<LoadedKernel>(m, "Kernel")
      .def("run", &LoadedKernel::run, "arguments"_a, "results"_a, "scalars"_a,
           "stream"_a = 0)
      .def_ro("mlir", &LoadedKernel::source)
      .def_prop_ro("code",
                   [](const LoadedKernel &k) {
                     return nb::bytes(k.bundle->code.data(),
                                      k.bundle->code.size());
                   })
      .def_prop_ro("manifest", [](const LoadedKernel &k) {
        return valueOf(writeManifest(k.bundle->manifest));
      });

  nb::class_<Session>(m, "Session")
      .def(nb::init<const std::string &, const std::string &>(), "device"_a,
           "options"_a = "")
      .def("compile", &Session::compile, "source"_a, "function"_a = "")
      .def("emit", &Session::emit, "source"_a, "function"_a = "",
           "target"_a = "")
      .def("clear", [](Session &s) { s.jit.clear(); })
      .def_ro("target", &Session::target)
      .def_prop_ro("name",
                   [](const Session &s) { return s.device->properties().name; })
      .def_prop_ro("on_host",
                   [](const Session &s) {
                     return s.device->properties().memory.kind ==
                            MemorySpace::Kind::Host;
                   })
      .def("statistics",
           [](const Session &s) {
             Jit::Statistics seen = s.jit.statistics();
             nb::dict result;
             result["memory_hits"] = seen.memoryHits;
             result["disk_hits"] = seen.diskHits;
             result["compilations"] = seen.compilations;
             return result;
           })
      .def("report", [](const Session &s, bool clear) {
        return valueOf(s.device->report(clear));
      });

  m.def("make_source", &makeSource, "type"_a, "sizes"_a, "mask"_a, "symbols"_a,
        "scale"_a.none(), "align"_a, "lse"_a);
}
