//===- ManifestVerify.cpp - The rules of a manifest -----------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/Manifest.h"
#include "attn/runtime/core/Target.h"
#include "attn/runtime/host/Cpu.h"

#include <algorithm>
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
    for (size_t i = 0; i < m.launches.size(); ++i)
      if (Status s = verifyLaunch(at("launches", i), m.launches[i]); !s)
        return s;
    return Status::success();
  }

private:
  Status verifyCode() {
    if (m.code.kind != "ptx" && !isObject)
      return bad("code.kind",
                 "expected 'ptx' or 'object', found '" + m.code.kind + "'");
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
                 "expected f16, bf16, f32, i32 or i64, found index");
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
    if (isFloat(s.type))
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

  Status verifyLaunch(const std::string &path, const LaunchDesc &launch) {
    // PTX identifiers; `%` and `$` may lead but the compiler has no need of it.
    if (!isIdentifier(launch.entry, "$"))
      return bad(path + ".entry",
                 "expected the name of a kernel, found '" + launch.entry + "'");
    if (Status s = verifyExpression(path + ".grid", launch.grid, 0); !s)
      return s;
    int64_t threadLimit = isObject ? 1 : maxThreads;
    int64_t sharedLimit = isObject ? maxScratch : maxShared;
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
    bool isMap = p.kind == ParamDesc::Kind::TensorMap;
    if (isObject && (isMap || p.kind == ParamDesc::Kind::TensorMapsFit))
      return bad(path + ".kind", "a CPU has no tensor maps");
    if (p.kind == ParamDesc::Kind::TensorMapsFit)
      return Status::success();
    if (p.kind == ParamDesc::Kind::Scalar) {
      for (const ScalarDesc &s : m.scalars)
        if (s.argument == p.index)
          return Status::success();
      return bad(path + ".argument",
                 "argument " + std::to_string(p.index) + " is not a scalar");
    }
    if (p.index < 0 || p.index >= static_cast<int64_t>(m.buffers.size()))
      return bad(path + ".buffer", "expected a buffer number below " +
                                       std::to_string(m.buffers.size()) +
                                       ", found " + std::to_string(p.index));
    if (p.kind == ParamDesc::Kind::Pointer)
      return Status::success();
    const BufferDesc &b = m.buffers[static_cast<size_t>(p.index)];
    if (isMap)
      return verifyBox(path, p.box, b);
    if (p.dim < 0 || p.dim >= static_cast<int64_t>(b.shape.size()))
      return bad(path + ".dim", "expected a dimension below " +
                                    std::to_string(b.shape.size()) +
                                    ", the rank of '" + b.name + "', found " +
                                    std::to_string(p.dim));
    return Status::success();
  }

  /// The limits of cuTensorMapEncodeTiled.
  Status verifyBox(const std::string &path, const TensorBox &box,
                   const BufferDesc &b) {
    constexpr int64_t maxBox = 256, granule = 16;
    if (!isFloat(b.type))
      return bad(path + ".buffer",
                 "expected a buffer of f16, bf16 or f32, found " +
                     std::string(nameOf(b.type)));
    if (box.sizes.empty() || box.sizes.size() > TensorBox::maxRank ||
        box.sizes.size() != b.shape.size())
      return bad(path + ".box", "expected one size for each of the " +
                                    std::to_string(b.shape.size()) +
                                    " dimensions of '" + b.name +
                                    "', at most 5, found " +
                                    std::to_string(box.sizes.size()));
    for (size_t d = 0; d < box.sizes.size(); ++d)
      if (box.sizes[d] < 1 || box.sizes[d] > maxBox)
        return bad(path + "." + at("box", d),
                   "expected 1 to 256, found " + std::to_string(box.sizes[d]));
    int64_t span = box.swizzle;
    if (span != 0 && span != 32 && span != 64 && span != 128)
      return bad(path + ".swizzle",
                 "expected 0, 32, 64 or 128, found " + std::to_string(span));
    int64_t rowBytes = box.sizes[0] * sizeOf(b.type);
    if (rowBytes % granule || (span && rowBytes > span))
      return bad(path + ".box[0]",
                 "expected a multiple of 16 bytes, at most those of the "
                 "swizzle, found " +
                     std::to_string(rowBytes));
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
