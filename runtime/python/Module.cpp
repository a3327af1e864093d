//===- Module.cpp - The extension module of the Python package ------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// Only what Python cannot do: compile, and launch on memory of others. The
// package's Python files hold the interface that people see.

#include "attn/runtime/core/DLPack.h"
#include "attn/runtime/jit/Compiler.h"
#include "attn/runtime/jit/Jit.h"
#include "attn/runtime/python/XlaFfi.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstdlib>

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
  std::shared_ptr<Jit> jit = std::make_shared<Jit>();

  Session(const std::string &name, const std::string &options)
      : device(valueOf(openDevice(name, options))),
        target(valueOf(targetOf(*device))) {}

  LoadedKernel compile(const std::string &source, const std::string &function) {
    nb::gil_scoped_release unlocked;
    CompileRequest request = {source, function, target};
    Result<std::shared_ptr<const Bundle>> bundle = jit->compile(request);
    Result<std::shared_ptr<const Executable>> program =
        bundle ? jit->load(device, request)
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
          jit->compile({source, function, wanted.empty() ? target : wanted});
    }
    if (!bundle)
      raise(bundle.error());
    return {valueOf(writeManifest((*bundle)->manifest)),
            nb::bytes((*bundle)->code.data(), (*bundle)->code.size())};
  }
};

//===----------------------------------------------------------------------===//
// XLA
//===----------------------------------------------------------------------===//

/// XLA knows a handler by its address alone, so it has one session. Set before
/// the handler can be known to XLA, and kept to the end of the process: an
/// executable of XLA may outlive every object of Python.
const Session *xlaSession = nullptr;

Result<ElementType> elementOf(xla::DataType type) {
  switch (type) {
  case xla::typeF16:
    return ElementType::F16;
  case xla::typeBF16:
    return ElementType::BF16;
  case xla::typeF32:
    return ElementType::F32;
  case xla::typePred:
    return ElementType::Bool;
  case xla::typeS8:
    return ElementType::I8;
  case xla::typeS32:
    return ElementType::I32;
  case xla::typeS64:
    return ElementType::I64;
  }
  return invalidArgument("expected elements of type f16, bf16, f32, i1, i8, "
                         "i32 or i64, found type number " +
                         std::to_string(type) + " of XLA");
}

Result<Tensor> tensorOf(const xla::Buffer &buffer) {
  attn_tensor view = {};
  view.data = buffer.data;
  view.device = {ATTN_DL_CPU, 0};
  view.ndim = static_cast<int32_t>(buffer.rank);
  Result<ElementType> type = elementOf(buffer.type);
  if (!type)
    return type.error();
  view.dtype = dlpack::toDLType(*type);
  view.shape = buffer.sizes;
  return dlpack::toTensor(view);
}

/// The arguments are q, k, v, the tensors and one array of the scalars.
Status runForXla(const xla::Call &call) {
  Result<std::shared_ptr<const Executable>> program = xlaSession->jit->load(
      xlaSession->device, {std::string(call.source), "", xlaSession->target});
  if (!program)
    return program.error();
  if (call.arguments.empty())
    return invalidArgument("expected the scalars as the last argument");
  std::vector<Tensor> in, out;
  for (size_t i = 0; i + 1 < call.arguments.size(); ++i) {
    Result<Tensor> tensor = tensorOf(*call.arguments[i]);
    if (!tensor)
      return tensor.error().in("argument " + std::to_string(i));
    in.push_back(std::move(*tensor));
  }
  for (size_t i = 0; i < call.results.size(); ++i) {
    Result<Tensor> tensor = tensorOf(*call.results[i]);
    if (!tensor)
      return tensor.error().in("result " + std::to_string(i));
    out.push_back(std::move(*tensor));
  }
  const xla::Buffer &numbers = *call.arguments.back();
  if (numbers.rank != 1 ||
      (numbers.type != xla::typeS32 && numbers.type != xla::typeS64))
    return invalidArgument("expected the scalars as an array of integers");
  std::vector<int64_t> scalars;
  for (int64_t i = 0; i < numbers.sizes[0]; ++i)
    scalars.push_back(numbers.type == xla::typeS32
                          ? static_cast<const int32_t *>(numbers.data)[i]
                          : static_cast<const int64_t *>(numbers.data)[i]);
  return (*program)->run(in, out, scalars);
}

xla::Error *xlaHandler(xla::CallFrame *frame) {
  return xla::serve(frame, runForXla);
}

} // namespace

/// New memory, aligned so that every library takes it as it is.
static nb::ndarray<nb::array_api, nb::device::cpu>
makeEmpty(const std::vector<int64_t> &shape, const std::string &type) {
  std::optional<ElementType> element = parseElementType(type);
  if (!element)
    throw nb::type_error(("unknown element type " + type).c_str());
  size_t bytes = sizeOf(*element);
  std::vector<size_t> sizes;
  for (int64_t size : shape) {
    sizes.push_back(static_cast<size_t>(size));
    bytes *= sizes.back();
  }
  void *memory =
      std::aligned_alloc(64, (std::max<size_t>(bytes, 1) + 63) / 64 * 64);
  if (!memory)
    throw std::bad_alloc();
  nb::capsule owner(memory, [](void *p) noexcept { std::free(p); });
  attn_dl_type dl = dlpack::toDLType(*element);
  return nb::ndarray<nb::array_api, nb::device::cpu>(
      memory, sizes.size(), sizes.data(), owner, nullptr,
      {dl.code, dl.bits, dl.lanes});
}

static ElementType elementOf(const std::string &type, const char *expected) {
  std::optional<ElementType> element = parseElementType(type);
  if (!element)
    throw nb::type_error(
        (std::string("expected ") + expected + ", found " + type).c_str());
  return *element;
}

/// (name, element type, shape)
using TensorArgument =
    std::tuple<std::string, std::string, std::vector<int64_t>>;

static std::string
makeSource(const std::string &type, std::vector<int64_t> sizes,
           const std::string &mask, std::vector<std::string> symbols,
           std::optional<double> scale, const std::string &align, bool lse,
           const std::vector<TensorArgument> &tensors,
           std::optional<double> softcap, const std::string &bias,
           const std::string &alibi, const std::string &sinks,
           const std::string &score, std::vector<std::string> scoreInputs) {
  AttentionSpec spec;
  spec.type = elementOf(type, "element type f16, bf16 or f32");
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
  for (const auto &[name, element, shape] : tensors)
    spec.tensors.push_back(
        {name, elementOf(element, "an element type of a tensor"), shape});
  spec.softcap = softcap;
  spec.bias = bias;
  spec.alibi = alibi;
  spec.sinks = sinks;
  spec.score = score;
  spec.scoreInputs = std::move(scoreInputs);
  if (align == "start")
    spec.alignment = AttentionSpec::Alignment::Start;
  else if (align == "offset")
    spec.alignment = AttentionSpec::Alignment::Offset;
  else if (align == "offsets")
    spec.alignment = AttentionSpec::Alignment::OffsetPerBatch;
  else if (align != "end")
    throw nb::value_error(
        ("align: expected 'end', 'start', 'offset' or 'offsets', found '" +
         align + "'")
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
      .def("clear", [](Session &s) { s.jit->clear(); })
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
             Jit::Statistics seen = s.jit->statistics();
             nb::dict result;
             result["memory_hits"] = seen.memoryHits;
             result["disk_hits"] = seen.diskHits;
             result["compilations"] = seen.compilations;
             return result;
           })
      .def(
          "report",
          [](const Session &s, bool clear) {
            return valueOf(s.device->report(clear));
          },
          "clear"_a);

  m.def("empty", &makeEmpty, "shape"_a, "type"_a);
  m.def(
      "xla_handler",
      [](const Session &session) {
        if (!xlaSession)
          xlaSession = new Session(session);
        return nb::capsule(reinterpret_cast<void *>(&xlaHandler),
                           "xla._CUSTOM_CALL_TARGET");
      },
      "session"_a);
  m.def("make_source", &makeSource, "type"_a, "sizes"_a, "mask"_a, "symbols"_a,
        "scale"_a.none(), "align"_a, "lse"_a,
        "tensors"_a = std::vector<TensorArgument>(), "softcap"_a = nb::none(),
        "bias"_a = "", "alibi"_a = "", "sinks"_a = "", "score"_a = "",
        "score_inputs"_a = std::vector<std::string>());
}
