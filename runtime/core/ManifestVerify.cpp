//===- ManifestVerify.cpp - The rules of a manifest -----------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/Manifest.h"
#include "attn/runtime/core/Target.h"
#include "attn/runtime/host/Cpu.h"

#include <algorithm>
#include <optional>
#include <set>

using namespace attn;

namespace {

// What every CUDA device offers: more would be refused at launch, far from the
// cause.
constexpr int64_t maxThreads = 1024;
constexpr int64_t maxShared = 1 << 20;
// Scratch of a thread of a CPU.
constexpr int64_t maxScratch = 1 << 30;
constexpr size_t maxParams = 512;
// The alignment that a device allocation has.
constexpr int64_t maxAlignment = 256;
// Deeper expressions are nonsense and would exhaust the stack.
constexpr int maxExpressionDepth = 64;

std::string at(const char *list, size_t index) {
  return std::string(list) + "[" + std::to_string(index) + "]";
}

Error bad(const std::string &path, const std::string &message) {
  return Error{ErrorCode::InvalidBundle, message}.in(path);
}

bool isLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool isDigit(char c) { return c >= '0' && c <= '9'; }

/// A letter or underscore, then letters, digits, underscores and `extra`.
bool isIdentifier(const std::string &s, const char *extra = "") {
  if (s.empty() || !isLetter(s[0]))
    return false;
  return std::all_of(s.begin(), s.end(), [&](char c) {
    return isLetter(c) || isDigit(c) ||
           std::string_view(extra).find(c) != std::string_view::npos;
  });
}

class Verifier {
public:
  explicit Verifier(const Manifest &m) : m(m) {}

  Status run() {
    if (m.compiler.empty())
      return bad("compiler", "expected a name and version, found nothing");
    isObject = m.code.kind == "object";
    if (isObject ? !host::isCpuTarget(m.target) : !parseTarget(m.target))
      return bad("target",
                 std::string("expected a target such as ") +
                     (isObject ? "x86-64 or x86-64-v4" : "sm_80 or sm_90a") +
                     ", found '" + m.target + "'");
    if (m.function.empty())
      return bad("function", "expected a name, found nothing");
    if (Status s = verifyCode(); !s)
      return s;
    for (size_t i = 0; i < m.buffers.size(); ++i)
      if (Status s = verifyBuffer(at("buffers", i), m.buffers[i]); !s)
        return s;
    for (size_t i = 0; i < m.scalars.size(); ++i)
      if (Status s = verifyScalar(at("scalars", i), m.scalars[i]); !s)
        return s;
    if (Status s = verifyNumbers(); !s)
      return s;
    if (Status s = verifyBound(); !s)
      return s;
    for (size_t i = 0; i < m.buffers.size(); ++i)
      for (size_t c = 0; c < m.buffers[i].checks.size(); ++c)
        if (Status s = verifyCheck(at("buffers", i) + "." + at("checks", c),
                                   m.buffers[i], m.buffers[i].checks[c]);
            !s)
          return s;
    for (size_t i = 0; i < m.launches.size(); ++i)
      if (Status s = verifyLaunch(at("launches", i), m.launches[i]); !s)
        return s;
    return Status::success();
  }

private:
  Status verifyCode() {
    if (m.code.kind != "ptx" && m.code.kind != "cubin" && !isObject)
      return bad("code.kind", "expected 'ptx', 'cubin' or 'object', found '" +
                                  m.code.kind + "'");
    const std::string &file = m.code.file;
    // A path could read or overwrite files outside the bundle.
    if (file.empty() || file[0] == '.' ||
        file.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos)
      return bad("code.file",
                 "expected a plain file name in the bundle's folder, found '" +
                     file + "'");
    if (file == "manifest.json")
      return bad("code.file", "the code cannot be in manifest.json itself");
    const std::string &hash = m.code.sha256;
    if (hash.size() != 64 || !std::all_of(hash.begin(), hash.end(), [](char c) {
          return isDigit(c) || (c >= 'a' && c <= 'f');
        }))
      return bad("code.sha256",
                 "expected 64 lower-case hexadecimal digits, found '" + hash +
                     "'");
    return Status::success();
  }

  Status verifyBuffer(const std::string &path, const BufferDesc &b) {
    if (b.name.empty())
      return bad(path + ".name", "expected a name, found nothing");
    if (!names.insert(b.name).second)
      return bad(path + ".name", "'" + b.name + "' is already used");
    if (b.type == ElementType::Index)
      return bad(path + ".type",
                 "expected f16, bf16, f32, i1, i8, i32 or i64, found index");
    for (size_t d = 0; d < b.shape.size(); ++d) {
      const Dimension &dim = b.shape[d];
      std::string here = path + "." + at("shape", d);
      if (dim.isDynamic() && !isIdentifier(dim.name))
        return bad(here, "expected a name of letters, digits and underscores, "
                         "found '" +
                             dim.name + "'");
      if (!dim.isDynamic() && dim.size < 0)
        return bad(here, "expected a size of at least 0, found " +
                             std::to_string(dim.size));
    }
    int64_t a = b.alignment;
    if (a < sizeOf(b.type) || a > maxAlignment || (a & (a - 1)))
      return bad(path + ".alignment", "expected a power of two from " +
                                          std::to_string(sizeOf(b.type)) +
                                          " (one element) to " +
                                          std::to_string(maxAlignment) +
                                          ", found " + std::to_string(a));
    return Status::success();
  }

  Status verifyScalar(const std::string &path, const ScalarDesc &s) {
    if (s.name.empty())
      return bad(path + ".name", "expected a name, found nothing");
    if (!names.insert(s.name).second)
      return bad(path + ".name", "'" + s.name + "' is already used");
    if (isFloat(s.type) || sizeOf(s.type) == 1)
      return bad(path + ".type", "expected i32, i64 or index, found " +
                                     std::string(nameOf(s.type)));
    return Status::success();
  }

  /// Arguments and results are each numbered from 0 without gaps or repeats.
  Status verifyNumbers() {
    std::map<int64_t, std::string> arguments, results;
    for (size_t i = 0; i < m.buffers.size(); ++i) {
      const BufferDesc &b = m.buffers[i];
      if (b.role == BufferRole::Temporary)
        continue;
      bool isResult = b.role == BufferRole::Result;
      std::string path =
          at("buffers", i) + (isResult ? ".result" : ".argument");
      auto [other, isNew] =
          (isResult ? results : arguments).emplace(b.number, path);
      if (!isNew)
        return bad(path, "number " + std::to_string(b.number) +
                             " is already used by " + other->second);
    }
    for (size_t i = 0; i < m.scalars.size(); ++i) {
      std::string path = at("scalars", i) + ".argument";
      auto [other, isNew] = arguments.emplace(m.scalars[i].argument, path);
      if (!isNew)
        return bad(path, "number " + std::to_string(m.scalars[i].argument) +
                             " is already used by " + other->second);
    }
    for (const auto *numbers : {&arguments, &results}) {
      int64_t expected = 0;
      for (const auto &[number, path] : *numbers)
        if (number != expected++)
          return bad(path, "expected numbers from 0 without gaps, found " +
                               std::to_string(number) + " where " +
                               std::to_string(expected - 1) + " is missing");
    }
    return Status::success();
  }

  Status verifyBound() {
    for (const BufferDesc &b : m.buffers)
      if (b.role == BufferRole::Argument)
        for (const Dimension &dim : b.shape)
          if (dim.isDynamic())
            bound.insert(dim.name);
    for (size_t i = 0; i < m.buffers.size(); ++i)
      for (size_t d = 0; d < m.buffers[i].shape.size(); ++d) {
        const Dimension &dim = m.buffers[i].shape[d];
        if (dim.isDynamic() && !bound.count(dim.name))
          return bad(at("buffers", i) + "." + at("shape", d),
                     "'" + dim.name + "' is not bound by any argument's shape");
      }
    return Status::success();
  }

  const BufferDesc *findArgument(int64_t number) const {
    for (const BufferDesc &b : m.buffers)
      if (b.role == BufferRole::Argument && b.number == number)
        return &b;
    return nullptr;
  }

  Status verifyCheck(const std::string &path, const BufferDesc &b,
                     const CheckDesc &check) {
    auto isInteger = [](const BufferDesc &buffer) {
      return buffer.type == ElementType::I32 || buffer.type == ElementType::I64;
    };
    bool ofAnyType = check.kind == CheckDesc::Kind::Multiple;
    if (b.role != BufferRole::Argument || !(ofAnyType || isInteger(b)) ||
        b.shape.empty())
      return bad(path, "expected an argument of i32 or i64 with dimensions, "
                       "found '" +
                           b.name + "'");
    switch (check.kind) {
    case CheckDesc::Kind::Sorted:
      return Status::success();
    case CheckDesc::Kind::Range:
      return verifyExpression(path + ".max", check.max, 0);
    case CheckDesc::Kind::Rising: {
      const BufferDesc *rows = findArgument(check.rows);
      if (!rows || !isInteger(*rows) || rows->shape.empty())
        return bad(path + ".rows",
                   "argument " + std::to_string(check.rows) +
                       " is not a tensor of i32 or i64 with dimensions");
      if (b.shape.size() != 1)
        return bad(path, "expected one dimension, found " +
                             std::to_string(b.shape.size()));
      return Status::success();
    }
    case CheckDesc::Kind::Size:
    case CheckDesc::Kind::Multiple:
      if (check.dim < 0 || check.dim >= static_cast<int64_t>(b.shape.size()))
        return bad(path + ".dim", "expected a dimension below " +
                                      std::to_string(b.shape.size()) +
                                      ", found " + std::to_string(check.dim));
      return verifyExpression(path + (ofAnyType ? ".of" : ".size"), check.max,
                              0);
    }
    return bad(path + ".kind", "unknown check");
  }

  Status verifyLaunch(const std::string &path, const LaunchDesc &launch) {
    // PTX identifiers; `%` and `$` may lead but the compiler has no need of it.
    if (!isIdentifier(launch.entry, "$"))
      return bad(path + ".entry",
                 "expected the name of a kernel, found '" + launch.entry + "'");
    if (Status s = verifyExpression(path + ".grid", launch.grid, 0); !s)
      return s;
    int64_t threadLimit = isObject ? 1 : maxThreads;
    int64_t sharedLimit = isObject ? maxScratch : maxShared;
    if (launch.persistent && isObject)
      return bad(path + ".persistent",
                 "expected false for a CPU, where every item is a call");
    if (launch.threads < 1 || launch.threads > threadLimit)
      return bad(path + ".threads",
                 "expected 1 to " + std::to_string(threadLimit) + ", found " +
                     std::to_string(launch.threads));
    if (launch.shared < 0 || launch.shared > sharedLimit)
      return bad(path + ".shared",
                 "expected 0 to " + std::to_string(sharedLimit) +
                     " bytes, found " + std::to_string(launch.shared));
    if (launch.params.size() > maxParams)
      return bad(path + ".params", "expected at most " +
                                       std::to_string(maxParams) +
                                       " parameters, found " +
                                       std::to_string(launch.params.size()));
    for (size_t p = 0; p < launch.params.size(); ++p)
      if (Status s =
              verifyParam(path + "." + at("params", p), launch.params[p]);
          !s)
        return s;
    return Status::success();
  }

  Status verifyExpression(const std::string &path, const Expression &e,
                          int depth) {
    using Kind = Expression::Kind;
    if (depth > maxExpressionDepth)
      return bad(path, "the expression is nested more than " +
                           std::to_string(maxExpressionDepth) + " deep");
    if (e.kind == Kind::Constant)
      return Status::success();
    if (e.kind == Kind::Name) {
      if (!bound.count(e.name))
        return bad(path,
                   "'" + e.name + "' is not bound by any argument's shape");
      return Status::success();
    }
    if (e.kind == Kind::CeilDiv ? e.args.size() != 2 : e.args.size() < 2)
      return bad(path + ".args",
                 std::string("'") + operatorName(e.kind) + "' needs " +
                     (e.kind == Kind::CeilDiv ? "two" : "two or more") +
                     " arguments, found " + std::to_string(e.args.size()));
    for (size_t i = 0; i < e.args.size(); ++i)
      if (Status s = verifyExpression(path + "." + at("args", i), e.args[i],
                                      depth + 1);
          !s)
        return s;
    if (e.kind == Kind::CeilDiv && e.args[1].kind == Kind::Constant &&
        e.args[1].value < 1)
      return bad(path + ".args[1]", "expected a positive divisor, found " +
                                        std::to_string(e.args[1].value));
    return Status::success();
  }

  Status verifyParam(const std::string &path, const ParamDesc &p) {
    if (p.kind == ParamDesc::Kind::Scalar) {
      for (const ScalarDesc &s : m.scalars)
        if (s.argument == p.index)
          return Status::success();
      return bad(path + ".argument",
                 "argument " + std::to_string(p.index) + " is not a scalar");
    }
    if (p.kind == ParamDesc::Kind::TensorMapsFit)
      return Status::success();
    if (p.index < 0 || p.index >= static_cast<int64_t>(m.buffers.size()))
      return bad(path + ".buffer", "expected a buffer number below " +
                                       std::to_string(m.buffers.size()) +
                                       ", found " + std::to_string(p.index));
    if (p.kind == ParamDesc::Kind::Pointer)
      return Status::success();
    const BufferDesc &b = m.buffers[static_cast<size_t>(p.index)];
    if (p.kind == ParamDesc::Kind::TensorMap)
      return verifyTensorMap(path, p, b);
    if (p.dim < 0 || p.dim >= static_cast<int64_t>(b.shape.size()))
      return bad(path + ".dim", "expected a dimension below " +
                                    std::to_string(b.shape.size()) +
                                    ", the rank of '" + b.name + "', found " +
                                    std::to_string(p.dim));
    return Status::success();
  }

  /// What the driver asks of a tensor map, as far as the shape's rank and the
  /// box tell.
  Status verifyTensorMap(const std::string &path, const ParamDesc &p,
                         const BufferDesc &b) {
    std::optional<Target> target = parseTarget(m.target);
    if (isObject || !target || target->major < 9)
      return bad(path + ".kind", "tensor maps need sm_90 or newer, the target "
                                 "is '" +
                                     m.target + "'");
    const size_t rank = b.shape.size();
    if (rank < 1 || rank > 5)
      return bad(path + ".buffer", "a tensor map has 1 to 5 dimensions, '" +
                                       b.name + "' has " +
                                       std::to_string(rank));
    if (p.box.size() != rank)
      return bad(path + ".box", "expected " + std::to_string(rank) +
                                    " extents, the rank of '" + b.name +
                                    "', found " + std::to_string(p.box.size()));
    // One dimension more is left for the classes, and fewer of them than 2^31,
    // which is what a coordinate can be.
    if (p.modulus != 1 && (rank < 2 || rank > 4))
      return bad(path + ".classes",
                 "expected a buffer of 2 to 4 dimensions, '" + b.name +
                     "' has " + std::to_string(rank));
    if (p.modulus < 1 || p.modulus > INT32_MAX)
      return bad(path + ".classes.modulus", "expected 2 to 2147483647, found " +
                                                std::to_string(p.modulus));
    for (size_t d = 0; d < rank; ++d)
      if (p.box[d] < 1 || p.box[d] > 256)
        return bad(path + "." + at("box", d),
                   "expected 1 to 256, found " + std::to_string(p.box[d]));
    const int64_t inner = p.box.back() * sizeOf(b.type);
    if (p.swizzle != 0 && p.swizzle != 32 && p.swizzle != 64 &&
        p.swizzle != 128)
      return bad(path + ".swizzle", "expected 0, 32, 64 or 128, found " +
                                        std::to_string(p.swizzle));
    if (p.swizzle ? inner != p.swizzle : inner % 16 != 0)
      return bad(path + "." + at("box", rank - 1),
                 (p.swizzle ? "expected the " + std::to_string(p.swizzle) +
                                  " bytes of the swizzle"
                            : std::string("expected a multiple of 16 bytes")) +
                     ", found " + std::to_string(inner));
    return Status::success();
  }

  const Manifest &m;
  bool isObject = false;       ///< the code is for a CPU
  std::set<std::string> names; ///< of buffers and scalars
  std::set<std::string> bound; ///< shape names that some argument binds
};

} // namespace

Status attn::verifyManifest(const Manifest &manifest) {
  return Verifier(manifest).run();
}
