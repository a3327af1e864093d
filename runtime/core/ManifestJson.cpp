//===- ManifestJson.cpp - Manifests as JSON text --------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// Reading turns JSON into the structures and refuses what they cannot hold;
// the rules on the values are verifyManifest's, shared with the writer.

#include "attn/runtime/core/Manifest.h"

#include <nlohmann/json.hpp>
#include <set>

using namespace attn;
using Json = nlohmann::json;

namespace {

/// Carries an Error through the recursive reader; caught in parseManifest.
struct ReadFailure {
  Error error;
};

[[noreturn]] void fail(const std::string &path, const std::string &message) {
  Error error{ErrorCode::InvalidBundle, message};
  throw ReadFailure{path.empty() ? error : error.in(path)};
}

std::string kindOf(const Json &value) {
  if (value.is_number_float())
    return "a number that is not an integer";
  switch (value.type()) {
  case Json::value_t::null:
    return "null";
  case Json::value_t::boolean:
    return "a boolean";
  case Json::value_t::string:
    return "a string";
  case Json::value_t::array:
    return "a list";
  case Json::value_t::object:
    return "an object";
  default:
    return "a number";
  }
}

int64_t readInteger(const Json &value, const std::string &path) {
  if (!value.is_number_integer())
    fail(path, "expected an integer, found " + kindOf(value));
  if (value.is_number_unsigned() &&
      value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))
    fail(path, value.dump() + " does not fit in 64 bits");
  return value.get<int64_t>();
}

std::string readString(const Json &value, const std::string &path) {
  if (!value.is_string())
    fail(path, "expected a string, found " + kindOf(value));
  return value.get<std::string>();
}

/// An object of which every field must be asked for exactly once.
class Fields {
public:
  Fields(const Json &value, std::string path)
      : object(value), path(std::move(path)) {
    if (!value.is_object())
      fail(this->path, "expected an object, found " + kindOf(value));
  }

  std::string pathTo(const std::string &field) const {
    return path.empty() ? field : path + "." + field;
  }
  bool has(const std::string &field) const { return object.contains(field); }
  const Json &get(const std::string &field) {
    auto found = object.find(field);
    if (found == object.end())
      fail(pathTo(field), "missing field");
    seen.insert(field);
    return *found;
  }
  int64_t integer(const std::string &field) {
    return readInteger(get(field), pathTo(field));
  }
  std::string string(const std::string &field) {
    return readString(get(field), pathTo(field));
  }
  template <typename Fn>
  void list(const std::string &field, Fn element) {
    const Json &value = get(field);
    if (!value.is_array())
      fail(pathTo(field), "expected a list, found " + kindOf(value));
    for (size_t i = 0; i < value.size(); ++i)
      element(value[i], pathTo(field) + "[" + std::to_string(i) + "]");
  }
  bool boolean(const std::string &field) {
    const Json &value = get(field);
    if (!value.is_boolean())
      fail(pathTo(field), "expected true or false, found " + kindOf(value));
    return value.get<bool>();
  }
  void finish() const {
    for (const auto &item : object.items())
      if (!seen.count(item.key()))
        fail(pathTo(item.key()), "unknown field");
  }

private:
  const Json &object;
  std::string path;
  std::set<std::string> seen;
};

ElementType readType(Fields &fields) {
  std::string word = fields.string("type");
  std::optional<ElementType> type = parseElementType(word);
  if (!type)
    fail(fields.pathTo("type"),
         "expected f16, bf16, f32, i1, i8, i32, i64 or index, found '" + word +
             "'");
  return *type;
}

Expression readExpression(const Json &value, const std::string &path,
                          int depth);

CheckDesc readCheck(const Json &value, const std::string &path) {
  Fields fields(value, path);
  std::string kind = fields.string("kind");
  CheckDesc check;
  if (kind == "sorted") {
    check = CheckDesc::sorted();
  } else if (kind == "range") {
    int64_t min = fields.integer("min");
    check = CheckDesc::range(
        min, readExpression(fields.get("max"), fields.pathTo("max"), 0));
  } else if (kind == "rising") {
    check = CheckDesc::rising(fields.integer("rows"));
  } else if (kind == "size") {
    int64_t dim = fields.integer("dim");
    check = CheckDesc::size(
        dim, readExpression(fields.get("size"), fields.pathTo("size"), 0));
  } else if (kind == "multiple") {
    int64_t dim = fields.integer("dim");
    check = CheckDesc::multiple(
        dim, readExpression(fields.get("of"), fields.pathTo("of"), 0));
  } else {
    fail(fields.pathTo("kind"),
         "expected range, sorted, rising, size or multiple, found '" + kind +
             "'");
  }
  fields.finish();
  return check;
}

BufferDesc readBuffer(const Json &value, const std::string &path) {
  Fields fields(value, path);
  BufferDesc buffer;
  std::string role = fields.string("role");
  if (role == "argument") {
    buffer.role = BufferRole::Argument;
    buffer.number = fields.integer("argument");
  } else if (role == "result") {
    buffer.role = BufferRole::Result;
    buffer.number = fields.integer("result");
  } else if (role == "temporary") {
    buffer.role = BufferRole::Temporary;
  } else {
    fail(fields.pathTo("role"),
         "expected argument, result or temporary, found '" + role + "'");
  }
  buffer.name = fields.string("name");
  buffer.type = readType(fields);
  fields.list("shape", [&](const Json &dim, const std::string &at) {
    if (dim.is_string()) {
      // An empty name would read as the number 0.
      if (dim.get_ref<const std::string &>().empty())
        fail(at, "expected a size or a name, found an empty string");
      buffer.shape.emplace_back(dim.get<std::string>());
    } else {
      buffer.shape.emplace_back(readInteger(dim, at));
    }
  });
  buffer.alignment = fields.integer("alignment");
  if (fields.has("checks"))
    fields.list("checks", [&](const Json &check, const std::string &at) {
      buffer.checks.push_back(readCheck(check, at));
    });
  fields.finish();
  return buffer;
}

ScalarDesc readScalar(const Json &value, const std::string &path) {
  Fields fields(value, path);
  ScalarDesc scalar;
  scalar.argument = fields.integer("argument");
  scalar.name = fields.string("name");
  scalar.type = readType(fields);
  fields.finish();
  return scalar;
}

Expression readExpression(const Json &value, const std::string &path,
                          int depth) {
  using Kind = Expression::Kind;
  if (depth > 64)
    fail(path, "the expression is nested more than 64 deep");
  if (value.is_string())
    return Expression(value.get<std::string>());
  if (value.is_number())
    return Expression(readInteger(value, path));
  if (!value.is_object())
    fail(path,
         "expected an integer, a name or an operation, found " + kindOf(value));
  Fields fields(value, path);
  std::string op = fields.string("op");
  for (Kind kind : {Kind::Add, Kind::Mul, Kind::CeilDiv, Kind::Min, Kind::Max})
    if (op == operatorName(kind)) {
      std::vector<Expression> args;
      fields.list("args", [&](const Json &arg, const std::string &at) {
        args.push_back(readExpression(arg, at, depth + 1));
      });
      fields.finish();
      return Expression(kind, std::move(args));
    }
  fail(fields.pathTo("op"),
       "expected add, mul, ceildiv, min or max, found '" + op + "'");
}

ParamDesc readParam(const Json &value, const std::string &path) {
  Fields fields(value, path);
  std::string kind = fields.string("kind");
  ParamDesc param;
  if (kind == "pointer") {
    param = ParamDesc::pointer(fields.integer("buffer"));
  } else if (kind == "size" || kind == "stride") {
    int64_t buffer = fields.integer("buffer");
    int64_t dim = fields.integer("dim");
    param = kind == "size" ? ParamDesc::size(buffer, dim)
                           : ParamDesc::stride(buffer, dim);
  } else if (kind == "scalar") {
    param = ParamDesc::scalar(fields.integer("argument"));
  } else if (kind == "tensor_map") {
    int64_t buffer = fields.integer("buffer");
    std::vector<int64_t> box;
    fields.list("box", [&](const Json &extent, const std::string &at) {
      box.push_back(readInteger(extent, at));
    });
    int64_t swizzle = fields.integer("swizzle");
    int64_t modulus = 1;
    bool longer = false;
    if (fields.has("classes")) {
      Fields classes(fields.get("classes"), fields.pathTo("classes"));
      modulus = classes.integer("modulus");
      longer = classes.boolean("longer");
      if (modulus == 1)
        fail(classes.pathTo("modulus"), "expected at least 2, found 1");
      classes.finish();
    }
    param =
        ParamDesc::tensorMap(buffer, std::move(box), swizzle, modulus, longer);
  } else if (kind == "tensor_maps_fit") {
    param = ParamDesc::tensorMapsFit();
  } else {
    fail(fields.pathTo("kind"),
         "expected pointer, size, stride, scalar, tensor_map or "
         "tensor_maps_fit, found '" +
             kind + "'");
  }
  fields.finish();
  return param;
}

LaunchDesc readLaunch(const Json &value, const std::string &path) {
  Fields fields(value, path);
  LaunchDesc launch;
  launch.entry = fields.string("entry");
  launch.grid = readExpression(fields.get("grid"), fields.pathTo("grid"), 0);
  launch.persistent = fields.has("persistent") && fields.boolean("persistent");
  launch.threads = fields.integer("threads");
  launch.shared = fields.integer("shared");
  fields.list("params", [&](const Json &param, const std::string &at) {
    launch.params.push_back(readParam(param, at));
  });
  launch.schedule = fields.string("schedule");
  launch.mask = fields.string("mask");
  fields.finish();
  return launch;
}

Manifest readManifest(const Json &value) {
  Fields fields(value, "");
  // The version first: the other fields mean something only under it.
  int64_t format = fields.integer("format");
  if (format != Manifest::formatVersion)
    fail("format", "expected version " +
                       std::to_string(Manifest::formatVersion) + ", found " +
                       std::to_string(format));
  Manifest manifest;
  manifest.compiler = fields.string("compiler");
  manifest.target = fields.string("target");
  manifest.function = fields.string("function");
  Fields code(fields.get("code"), "code");
  manifest.code.kind = code.string("kind");
  manifest.code.file = code.string("file");
  manifest.code.sha256 = code.string("sha256");
  code.finish();
  fields.list("buffers", [&](const Json &buffer, const std::string &at) {
    manifest.buffers.push_back(readBuffer(buffer, at));
  });
  fields.list("scalars", [&](const Json &scalar, const std::string &at) {
    manifest.scalars.push_back(readScalar(scalar, at));
  });
  fields.list("launches", [&](const Json &launch, const std::string &at) {
    manifest.launches.push_back(readLaunch(launch, at));
  });
  fields.finish();
  return manifest;
}

/// Parses JSON and refuses an object that has a field twice: the library would
/// keep the last and drop the others without a word.
Json parseJson(std::string_view text) {
  std::vector<std::set<std::string>> open;
  auto watch = [&](int depth, Json::parse_event_t event, Json &value) {
    if (depth > 256)
      fail("", "the JSON text is nested more than 256 deep");
    if (event == Json::parse_event_t::object_start)
      open.emplace_back();
    else if (event == Json::parse_event_t::object_end)
      open.pop_back();
    else if (event == Json::parse_event_t::key &&
             !open.back().insert(value.get<std::string>()).second)
      fail("", "the field " + value.dump() + " occurs twice in one object");
    return true;
  };
  return Json::parse(text.begin(), text.end(), watch);
}

//===----------------------------------------------------------------------===//
// Writing: by hand, for one stable order and a layout that people can read.
//===----------------------------------------------------------------------===//

std::string quoted(const std::string &text) { return Json(text).dump(); }

std::string join(const std::vector<std::string> &items, const char *separator) {
  std::string text;
  for (const std::string &item : items)
    text += (text.empty() ? "" : separator) + item;
  return text;
}

/// A list with one element in each line, indented by `indent` spaces.
std::string lines(const std::vector<std::string> &items, int indent) {
  if (items.empty())
    return "[]";
  std::string margin(static_cast<size_t>(indent), ' ');
  std::string separator = ",\n" + margin + "  ";
  return "[\n" + margin + "  " + join(items, separator.c_str()) + "\n" +
         margin + "]";
}

std::string text(const Expression &e) {
  if (e.kind == Expression::Kind::Constant)
    return std::to_string(e.value);
  if (e.kind == Expression::Kind::Name)
    return quoted(e.name);
  std::vector<std::string> args;
  for (const Expression &arg : e.args)
    args.push_back(text(arg));
  return "{\"op\": " + quoted(operatorName(e.kind)) + ", \"args\": [" +
         join(args, ", ") + "]}";
}

std::string text(const CheckDesc &c) {
  switch (c.kind) {
  case CheckDesc::Kind::Range:
    return "{\"kind\": \"range\", \"min\": " + std::to_string(c.min) +
           ", \"max\": " + text(c.max) + "}";
  case CheckDesc::Kind::Rising:
    return "{\"kind\": \"rising\", \"rows\": " + std::to_string(c.rows) + "}";
  case CheckDesc::Kind::Size:
    return "{\"kind\": \"size\", \"dim\": " + std::to_string(c.dim) +
           ", \"size\": " + text(c.max) + "}";
  case CheckDesc::Kind::Multiple:
    return "{\"kind\": \"multiple\", \"dim\": " + std::to_string(c.dim) +
           ", \"of\": " + text(c.max) + "}";
  case CheckDesc::Kind::Sorted:
    break;
  }
  return "{\"kind\": \"sorted\"}";
}

std::string text(const BufferDesc &b) {
  std::string head;
  std::string number = std::to_string(b.number);
  if (b.role == BufferRole::Argument)
    head = "\"role\": \"argument\", \"argument\": " + number;
  else if (b.role == BufferRole::Result)
    head = "\"role\": \"result\", \"result\": " + number;
  else
    head = "\"role\": \"temporary\"";
  std::vector<std::string> shape;
  for (const Dimension &dim : b.shape)
    shape.push_back(dim.isDynamic() ? quoted(dim.name)
                                    : std::to_string(dim.size));
  std::vector<std::string> list;
  for (const CheckDesc &check : b.checks)
    list.push_back(text(check));
  std::string checks =
      list.empty() ? "" : ", \"checks\": [" + join(list, ", ") + "]";
  return "{" + head + ", \"name\": " + quoted(b.name) + ", \"type\": \"" +
         std::string(nameOf(b.type)) + "\", \"shape\": [" + join(shape, ", ") +
         "], \"alignment\": " + std::to_string(b.alignment) + checks + "}";
}

std::string text(const ScalarDesc &s) {
  return "{\"argument\": " + std::to_string(s.argument) +
         ", \"name\": " + quoted(s.name) + ", \"type\": \"" +
         std::string(nameOf(s.type)) + "\"}";
}

std::string text(const ParamDesc &p) {
  std::string index = std::to_string(p.index);
  std::string dim = std::to_string(p.dim);
  switch (p.kind) {
  case ParamDesc::Kind::Pointer:
    return "{\"kind\": \"pointer\", \"buffer\": " + index + "}";
  case ParamDesc::Kind::Size:
    return "{\"kind\": \"size\", \"buffer\": " + index + ", \"dim\": " + dim +
           "}";
  case ParamDesc::Kind::Stride:
    return "{\"kind\": \"stride\", \"buffer\": " + index + ", \"dim\": " + dim +
           "}";
  case ParamDesc::Kind::TensorMap: {
    std::vector<std::string> box;
    for (int64_t extent : p.box)
      box.push_back(std::to_string(extent));
    std::string classes =
        p.modulus == 1
            ? ""
            : ", \"classes\": {\"modulus\": " + std::to_string(p.modulus) +
                  ", \"longer\": " + (p.longer ? "true" : "false") + "}";
    return "{\"kind\": \"tensor_map\", \"buffer\": " + index + ", \"box\": [" +
           join(box, ", ") + "], \"swizzle\": " + std::to_string(p.swizzle) +
           classes + "}";
  }
  case ParamDesc::Kind::TensorMapsFit:
    return "{\"kind\": \"tensor_maps_fit\"}";
  case ParamDesc::Kind::Scalar:
    break;
  }
  return "{\"kind\": \"scalar\", \"argument\": " + index + "}";
}

std::string text(const LaunchDesc &l);

template <typename T>
std::vector<std::string> texts(const std::vector<T> &items) {
  std::vector<std::string> result;
  for (const T &item : items)
    result.push_back(text(item));
  return result;
}

std::string text(const LaunchDesc &l) {
  std::string margin = ",\n      ";
  return "{\n      \"entry\": " + quoted(l.entry) + margin +
         "\"grid\": " + text(l.grid) + margin +
         (l.persistent ? "\"persistent\": true" + margin : "") +
         "\"threads\": " + std::to_string(l.threads) + margin +
         "\"shared\": " + std::to_string(l.shared) + margin +
         "\"params\": " + lines(texts(l.params), 6) + margin +
         "\"schedule\": " + quoted(l.schedule) + margin +
         "\"mask\": " + quoted(l.mask) + "\n    }";
}

} // namespace

Result<Manifest> attn::parseManifest(std::string_view json) {
  try {
    Manifest manifest = readManifest(parseJson(json));
    if (Status status = verifyManifest(manifest); !status)
      return status.error();
    return manifest;
  } catch (const ReadFailure &failure) {
    return failure.error;
  } catch (const Json::exception &exception) {
    return Error{ErrorCode::InvalidBundle,
                 std::string("not valid JSON: ") + exception.what()};
  }
}

Result<std::string> attn::writeManifest(const Manifest &m) {
  if (Status status = verifyManifest(m); !status)
    return status.error();
  try {
    return "{\n  \"format\": " + std::to_string(Manifest::formatVersion) +
           ",\n  \"compiler\": " + quoted(m.compiler) +
           ",\n  \"target\": " + quoted(m.target) +
           ",\n  \"function\": " + quoted(m.function) +
           ",\n  \"code\": {\"kind\": " + quoted(m.code.kind) +
           ", \"file\": " + quoted(m.code.file) +
           ", \"sha256\": " + quoted(m.code.sha256) + "}" +
           ",\n  \"buffers\": " + lines(texts(m.buffers), 2) +
           ",\n  \"scalars\": " + lines(texts(m.scalars), 2) +
           ",\n  \"launches\": " + lines(texts(m.launches), 2) + "\n}\n";
  } catch (const Json::exception &exception) {
    return Error{ErrorCode::InvalidBundle,
                 std::string("the manifest has a string that is not valid "
                             "UTF-8: ") +
                     exception.what()};
  }
}
