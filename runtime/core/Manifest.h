//===- Manifest.h - What a bundle says about its code -----------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// docs/Bundle.md describes the format; these structures mirror it field by
// field. The compiler fills one and writes it, the runtime parses one.

#ifndef ATTN_RUNTIME_CORE_MANIFEST_H
#define ATTN_RUNTIME_CORE_MANIFEST_H

#include "attn/runtime/core/ElementType.h"
#include "attn/runtime/core/Expression.h"

#include <string_view>
#include <tuple>

namespace attn {

/// An extent of a shape: a number, or a name that the arguments bind.
struct Dimension {
  int64_t size = 0;
  std::string name; ///< empty for a number

  Dimension(int64_t size) : size(size) {}
  Dimension(std::string name) : name(std::move(name)) {}
  Dimension(const char *name) : name(name) {}

  bool isDynamic() const { return !name.empty(); }
  bool operator==(const Dimension &o) const {
    return size == o.size && name == o.name;
  }
};

/// What must hold for the elements of an integer argument, or for the shape of
/// an argument.
struct CheckDesc {
  enum class Kind : uint8_t {
    Range,    ///< every element is in min..max
    Sorted,   ///< elements do not decrease along the last dimension
    Rising,   ///< elements rise from rows[n] to rows[n + 1] - 1, for all n
    Size,     ///< dimension `dim` has the size `max`
    Multiple, ///< dimension `dim`, of any type of elements, is a multiple of
              ///< `max`; of 0 only 0 is
  };

  Kind kind = Kind::Sorted;
  int64_t min = 0; ///< of Range
  Expression max;  ///< of Range, Size and Multiple
  int64_t rows =
      0; ///< of Rising: the argument, checked before, with the offsets
  int64_t dim = 0; ///< of Size and Multiple

  static CheckDesc range(int64_t min, Expression max) {
    return {Kind::Range, min, std::move(max), 0, 0};
  }
  static CheckDesc sorted() { return {Kind::Sorted, 0, {}, 0, 0}; }
  static CheckDesc rising(int64_t rows) {
    return {Kind::Rising, 0, {}, rows, 0};
  }
  static CheckDesc size(int64_t dim, Expression size) {
    return {Kind::Size, 0, std::move(size), 0, dim};
  }

  static CheckDesc multiple(int64_t dim, Expression of) {
    return {Kind::Multiple, 0, std::move(of), 0, dim};
  }
  /// Whether the shape says it all.
  bool isOfShape() const {
    return kind == Kind::Size || kind == Kind::Multiple;
  }

  bool operator==(const CheckDesc &o) const {
    return std::tie(kind, min, max, rows, dim) ==
           std::tie(o.kind, o.min, o.max, o.rows, o.dim);
  }
};

enum class BufferRole : uint8_t { Argument, Result, Temporary };

struct BufferDesc {
  BufferRole role = BufferRole::Argument;
  /// The number of the function's argument or result; 0 for a temporary.
  int64_t number = 0;
  std::string name;
  ElementType type = ElementType::F32;
  std::vector<Dimension> shape;
  /// Bytes: the base address is a multiple of it.
  int64_t alignment = 0;
  /// Of an argument of integers.
  std::vector<CheckDesc> checks = {};

  bool operator==(const BufferDesc &o) const {
    return std::tie(role, number, name, type, shape, alignment, checks) ==
           std::tie(o.role, o.number, o.name, o.type, o.shape, o.alignment,
                    o.checks);
  }
};

struct ScalarDesc {
  int64_t argument = 0; ///< the number of the function's argument
  std::string name;
  ElementType type = ElementType::Index; ///< I32, I64 or Index

  bool operator==(const ScalarDesc &o) const {
    return std::tie(argument, name, type) ==
           std::tie(o.argument, o.name, o.type);
  }
};

/// One parameter of a kernel: 8 bytes, or 128 for a tensor map.
struct ParamDesc {
  enum class Kind : uint8_t {
    Pointer,
    Size,
    Stride,
    Scalar,
    TensorMap,
    /// 1 if all tensor maps of the launch can be made of its tensors, else 0.
    TensorMapsFit
  };

  Kind kind = Kind::Pointer;
  int64_t index = 0; ///< the buffer in `buffers`; for Scalar the argument
                     ///< number; 0 for TensorMapsFit
  int64_t dim = 0;   ///< of Size and Stride; 0 otherwise
  /// Of TensorMap: elements of a copy along each dimension of the buffer, and
  /// bytes of the swizzle (0, 32, 64 or 128). Empty and 0 otherwise.
  std::vector<int64_t> box = {};
  int64_t swizzle = 0;
  /// Of TensorMap: the dimension before the last is seen as this many residue
  /// classes; 1 if it is not. Some classes may have one element more than the
  /// others: a map is for those that do, or for all but without that element.
  int64_t modulus = 1;
  bool longer = false;

  static ParamDesc pointer(int64_t buffer) { return {Kind::Pointer, buffer}; }
  static ParamDesc size(int64_t buffer, int64_t dim) {
    return {Kind::Size, buffer, dim};
  }
  static ParamDesc stride(int64_t buffer, int64_t dim) {
    return {Kind::Stride, buffer, dim};
  }
  static ParamDesc scalar(int64_t argument) { return {Kind::Scalar, argument}; }
  static ParamDesc tensorMap(int64_t buffer, std::vector<int64_t> box,
                             int64_t swizzle, int64_t modulus = 1,
                             bool longer = false) {
    return {Kind::TensorMap, buffer,  0,     std::move(box),
            swizzle,         modulus, longer};
  }
  static ParamDesc tensorMapsFit() { return {Kind::TensorMapsFit}; }

  bool operator==(const ParamDesc &o) const {
    return std::tie(kind, index, dim, box, swizzle, modulus, longer) ==
           std::tie(o.kind, o.index, o.dim, o.box, o.swizzle, o.modulus,
                    o.longer);
  }
};

struct LaunchDesc {
  std::string entry;
  Expression grid; ///< blocks, one-dimensional; zero skips the launch
  /// The grid counts work items: the launch has at most as many blocks as the
  /// device has multiprocessors, and each block takes its share.
  bool persistent = false;
  int64_t threads = 0; ///< per block
  int64_t shared = 0;  ///< bytes of dynamic shared memory
  std::vector<ParamDesc> params;
  std::string schedule; ///< for people: the schedule attribute as text
  std::string mask;     ///< for people: the mask as text

  bool operator==(const LaunchDesc &o) const {
    return std::tie(entry, grid, persistent, threads, shared, params, schedule,
                    mask) == std::tie(o.entry, o.grid, o.persistent, o.threads,
                                      o.shared, o.params, o.schedule, o.mask);
  }
};

struct CodeDesc {
  std::string kind = "ptx"; ///< or "cubin"; "object" for CPUs
  std::string file;         ///< a plain file name in the bundle's folder
  std::string sha256;       ///< of the file's bytes, 64 lower-case hex digits

  bool operator==(const CodeDesc &o) const {
    return kind == o.kind && file == o.file && sha256 == o.sha256;
  }
};

struct Manifest {
  /// The one version of the format that this library reads and writes.
  static constexpr int64_t formatVersion = 1;

  std::string compiler;
  std::string target; ///< sm_80, sm_90a, ...; for CPUs as in host/Cpu.h
  std::string function;
  CodeDesc code;
  std::vector<BufferDesc> buffers;
  std::vector<ScalarDesc> scalars;
  std::vector<LaunchDesc> launches;

  bool operator==(const Manifest &o) const {
    return std::tie(compiler, target, function, code, buffers, scalars,
                    launches) == std::tie(o.compiler, o.target, o.function,
                                          o.code, o.buffers, o.scalars,
                                          o.launches);
  }
};

/// Checks every rule of the format that does not need the code's bytes. The
/// message starts with the place, as in `launches[0].params[2].dim`.
Status verifyManifest(const Manifest &manifest);

/// Reads and verifies a manifest. Refuses another format version, a missing,
/// unknown or repeated field, and a value of the wrong type or range.
Result<Manifest> parseManifest(std::string_view json);

/// The manifest as JSON in one fixed layout and field order, after verifying
/// it: parseManifest gives the same manifest back.
Result<std::string> writeManifest(const Manifest &manifest);

} // namespace attn

#endif // ATTN_RUNTIME_CORE_MANIFEST_H
