//===- ManifestTest.cpp - The rules of a manifest -------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/Manifest.h"
#include "attn/test/runtime/core/TestSupport.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

using namespace attn;
using namespace attn::test;
using Json = nlohmann::json;

namespace {

/// The example of docs/Bundle.md with a real hash.
const char *sample = R"json({
  "format": 1,
  "compiler": "attn 0.1.0",
  "target": "sm_80",
  "function": "f",
  "code": {"kind": "ptx", "file": "f.ptx", "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
  "buffers": [
    {"role": "argument", "argument": 0, "name": "q", "type": "bf16", "shape": [2, 8, "d0", 64], "alignment": 2},
    {"role": "argument", "argument": 1, "name": "k", "type": "bf16", "shape": [2, 2, "d1", 64], "alignment": 2},
    {"role": "argument", "argument": 2, "name": "v", "type": "bf16", "shape": [2, 2, "d1", 64], "alignment": 2},
    {"role": "result", "result": 0, "name": "o", "type": "bf16", "shape": [2, 8, "d0", 64], "alignment": 2},
    {"role": "result", "result": 1, "name": "lse", "type": "f32", "shape": [2, 8, "d0"], "alignment": 4},
    {"role": "temporary", "name": "t0", "type": "bf16", "shape": [2, 8, "d0", 64], "alignment": 16}
  ],
  "scalars": [
    {"argument": 3, "name": "w", "type": "index"}
  ],
  "launches": [
    {
      "entry": "f_0",
      "grid": {"op": "mul", "args": [{"op": "ceildiv", "args": ["d0", 128]}, 16]},
      "threads": 128,
      "shared": 65536,
      "params": [
        {"kind": "pointer", "buffer": 0},
        {"kind": "size", "buffer": 0, "dim": 2},
        {"kind": "stride", "buffer": 0, "dim": 0},
        {"kind": "scalar", "argument": 3}
      ],
      "schedule": "#attn.schedule<...>",
      "mask": "causal & window<%w, 0>"
    }
  ]
}
)json";

TEST(Manifest, ReadsTheDocumentedExample) {
  Result<Manifest> m = parseManifest(sample);
  ASSERT_TRUE(m) << errorOf(m);
  EXPECT_EQ(m->compiler, "attn 0.1.0");
  EXPECT_EQ(m->target, "sm_80");
  EXPECT_EQ(m->function, "f");
  EXPECT_EQ(m->code.file, "f.ptx");
  ASSERT_EQ(m->buffers.size(), 6u);
  EXPECT_EQ(m->buffers[1].name, "k");
  EXPECT_EQ(m->buffers[1].number, 1);
  EXPECT_EQ(m->buffers[1].type, ElementType::BF16);
  EXPECT_EQ(m->buffers[1].shape, (std::vector<Dimension>{int64_t(2), int64_t(2),
                                                         "d1", int64_t(64)}));
  EXPECT_EQ(m->buffers[4].role, BufferRole::Result);
  EXPECT_EQ(m->buffers[5].role, BufferRole::Temporary);
  EXPECT_EQ(m->buffers[5].alignment, 16);
  ASSERT_EQ(m->scalars.size(), 1u);
  EXPECT_EQ(m->scalars[0].argument, 3);
  ASSERT_EQ(m->launches.size(), 1u);
  EXPECT_EQ(toText(m->launches[0].grid), "mul(ceildiv(d0, 128), 16)");
  EXPECT_EQ(m->launches[0].threads, 128);
  EXPECT_EQ(m->launches[0].shared, 65536);
  EXPECT_EQ(m->launches[0].params[1], ParamDesc::size(0, 2));
  EXPECT_EQ(m->launches[0].mask, "causal & window<%w, 0>");
}

TEST(Manifest, WritesTheDocumentedLayout) {
  EXPECT_EQ(*writeManifest(*parseManifest(sample)), sample);
}

TEST(Manifest, DocumentationShowsTheSample) {
  std::ifstream file(ATTN_SOURCE_DIR "/docs/Bundle.md");
  std::stringstream text;
  text << file.rdbuf();
  std::string expected = sample;
  size_t hash = expected.find("e3b0c");
  expected.replace(hash, 64, "<64 hex digits over the file's bytes>");
  EXPECT_NE(text.str().find("```json\n" + expected + "```"), std::string::npos);
}

//===----------------------------------------------------------------------===//
// What is refused
//===----------------------------------------------------------------------===//

struct Refusal {
  const char *at;    ///< a JSON pointer into the sample
  const char *value; ///< JSON to put there, or null to remove the field
  const char *message;
};

void PrintTo(const Refusal &r, std::ostream *out) {
  *out << r.at << " = " << (r.value ? r.value : "(removed)");
}

class Refuses : public testing::TestWithParam<Refusal> {};

TEST_P(Refuses, WithItsPlace) {
  const Refusal &r = GetParam();
  Json json = Json::parse(sample);
  Json::json_pointer pointer(r.at);
  if (r.value)
    json[pointer] = Json::parse(r.value);
  else
    json[pointer.parent_pointer()].erase(pointer.back());
  EXPECT_EQ(errorOf(parseManifest(json.dump())), r.message);
}

const Refusal values[] = {
    {"/format", "2", "format: expected version 1, found 2"},
    {"/format", "1.0",
     "format: expected an integer, found a number that is not an integer"},
    {"/format", "\"1\"", "format: expected an integer, found a string"},
    {"/compiler", "3", "compiler: expected a string, found a number"},
    {"/compiler", "\"\"",
     "compiler: expected a name and version, found nothing"},
    {"/target", "\"gfx90a\"",
     "target: expected a target such as sm_80 or sm_90a, found 'gfx90a'"},
    {"/function", "\"\"", "function: expected a name, found nothing"},
    {"/function", "null", "function: expected a string, found null"},
    {"/code", "[]", "code: expected an object, found a list"},
    {"/code/kind", "\"fatbin\"",
     "code.kind: expected 'ptx', 'cubin' or 'object', found 'fatbin'"},
    {"/code/file", "\"../f.ptx\"",
     "code.file: expected a plain file name in the bundle's folder, found "
     "'../f.ptx'"},
    {"/code/file", "\"/etc/passwd\"",
     "code.file: expected a plain file name in the bundle's folder, found "
     "'/etc/passwd'"},
    {"/code/file", "\"..\"",
     "code.file: expected a plain file name in the bundle's folder, found "
     "'..'"},
    {"/code/file", "\"a\\\\b\"",
     "code.file: expected a plain file name in the bundle's folder, found "
     "'a\\b'"},
    {"/code/file", "\"\"",
     "code.file: expected a plain file name in the bundle's folder, found ''"},
    {"/code/file", "\"manifest.json\"",
     "code.file: the code cannot be in manifest.json itself"},
    {"/code/sha256", "\"12\"",
     "code.sha256: expected 64 lower-case hexadecimal digits, found '12'"},
    {"/code/sha256",
     "\"E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855\"",
     "code.sha256: expected 64 lower-case hexadecimal digits, found "
     "'E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855'"},
    {"/buffers", "{}", "buffers: expected a list, found an object"},
    {"/buffers/0", "7", "buffers[0]: expected an object, found a number"},
    {"/buffers/0/role", "\"input\"",
     "buffers[0].role: expected argument, result or temporary, found 'input'"},
    {"/buffers/0/role", "\"result\"", "buffers[0].result: missing field"},
    {"/buffers/5/role", "\"result\"", "buffers[5].result: missing field"},
    {"/buffers/5/argument", "4", "buffers[5].argument: unknown field"},
    {"/buffers/0/result", "0", "buffers[0].result: unknown field"},
    {"/buffers/1/argument", "0",
     "buffers[1].argument: number 0 is already used by buffers[0].argument"},
    {"/buffers/4/result", "0",
     "buffers[4].result: number 0 is already used by buffers[3].result"},
    {"/buffers/4/result", "2",
     "buffers[4].result: expected numbers from 0 without gaps, found 2 where 1 "
     "is missing"},
    {"/buffers/0/argument", "-1",
     "buffers[0].argument: expected numbers from 0 without gaps, found -1 "
     "where 0 is missing"},
    {"/buffers/0/argument", "18446744073709551615",
     "buffers[0].argument: 18446744073709551615 does not fit in 64 bits"},
    {"/scalars/0/argument", "2",
     "scalars[0].argument: number 2 is already used by buffers[2].argument"},
    {"/scalars/0/argument", "5",
     "scalars[0].argument: expected numbers from 0 without gaps, found 5 where "
     "3 is missing"},
    {"/buffers/0/name", "\"\"",
     "buffers[0].name: expected a name, found nothing"},
    {"/buffers/1/name", "\"q\"", "buffers[1].name: 'q' is already used"},
    {"/scalars/0/name", "\"q\"", "scalars[0].name: 'q' is already used"},
    {"/scalars/0/name", "\"\"",
     "scalars[0].name: expected a name, found nothing"},
    {"/buffers/0/type", "\"f64\"",
     "buffers[0].type: expected f16, bf16, f32, i1, i8, i32, i64 or index, "
     "found "
     "'f64'"},
    {"/buffers/0/type", "\"index\"",
     "buffers[0].type: expected f16, bf16, f32, i1, i8, i32 or i64, found "
     "index"},
    {"/scalars/0/type", "\"f32\"",
     "scalars[0].type: expected i32, i64 or index, found f32"},
    {"/buffers/0/shape", "64",
     "buffers[0].shape: expected a list, found a number"},
    {"/buffers/0/shape/0", "-1",
     "buffers[0].shape[0]: expected a size of at least 0, found -1"},
    {"/buffers/0/shape/0", "true",
     "buffers[0].shape[0]: expected an integer, found a boolean"},
    {"/buffers/0/shape/2", "\"\"",
     "buffers[0].shape[2]: expected a size or a name, found an empty string"},
    {"/buffers/0/shape/2", "\"d 0\"",
     "buffers[0].shape[2]: expected a name of letters, digits and underscores, "
     "found 'd 0'"},
    {"/buffers/3/shape/2", "\"n\"",
     "buffers[3].shape[2]: 'n' is not bound by any argument's shape"},
    {"/buffers/5/shape/2", "\"n\"",
     "buffers[5].shape[2]: 'n' is not bound by any argument's shape"},
    {"/buffers/0/alignment", "3",
     "buffers[0].alignment: expected a power of two from 2 (one element) to "
     "256, found 3"},
    {"/buffers/4/alignment", "2",
     "buffers[4].alignment: expected a power of two from 4 (one element) to "
     "256, found 2"},
    {"/buffers/0/alignment", "512",
     "buffers[0].alignment: expected a power of two from 2 (one element) to "
     "256, found 512"},
    {"/launches/0/entry", "\"a b\"",
     "launches[0].entry: expected the name of a kernel, found 'a b'"},
    {"/launches/0/entry", "\"\"",
     "launches[0].entry: expected the name of a kernel, found ''"},
    {"/launches/0/grid", "null",
     "launches[0].grid: expected an integer, a name or an operation, found "
     "null"},
    {"/launches/0/grid", "1.5",
     "launches[0].grid: expected an integer, found a number that is not an "
     "integer"},
    {"/launches/0/grid", "\"n\"",
     "launches[0].grid: 'n' is not bound by any argument's shape"},
    {"/launches/0/grid/op", "\"sub\"",
     "launches[0].grid.op: expected add, mul, ceildiv, min or max, found "
     "'sub'"},
    {"/launches/0/grid/args", "[1]",
     "launches[0].grid.args: 'mul' needs two or more arguments, found 1"},
    {"/launches/0/grid/args/0/args", "[1, 2, 3]",
     "launches[0].grid.args[0].args: 'ceildiv' needs two arguments, found 3"},
    {"/launches/0/grid/args/0/args/1", "0",
     "launches[0].grid.args[0].args[1]: expected a positive divisor, found 0"},
    {"/launches/0/grid/args/0/args/0", "\"n\"",
     "launches[0].grid.args[0].args[0]: 'n' is not bound by any argument's "
     "shape"},
    {"/launches/0/threads", "0",
     "launches[0].threads: expected 1 to 1024, found 0"},
    {"/launches/0/threads", "1025",
     "launches[0].threads: expected 1 to 1024, found 1025"},
    {"/launches/0/shared", "-1",
     "launches[0].shared: expected 0 to 1048576 bytes, found -1"},
    {"/launches/0/shared", "2097152",
     "launches[0].shared: expected 0 to 1048576 bytes, found 2097152"},
    {"/launches/0/params/0/kind", "\"value\"",
     "launches[0].params[0].kind: expected pointer, size, stride, scalar, "
     "tensor_map or tensor_maps_fit, found 'value'"},
    {"/launches/0/params/0/buffer", "6",
     "launches[0].params[0].buffer: expected a buffer number below 6, found 6"},
    {"/launches/0/params/0/buffer", "-1",
     "launches[0].params[0].buffer: expected a buffer number below 6, found "
     "-1"},
    {"/launches/0/params/0/dim", "0",
     "launches[0].params[0].dim: unknown field"},
    {"/launches/0/params/1/dim", "4",
     "launches[0].params[1].dim: expected a dimension below 4, the rank of "
     "'q', found 4"},
    {"/launches/0/params/2/dim", "-1",
     "launches[0].params[2].dim: expected a dimension below 4, the rank of "
     "'q', found -1"},
    {"/launches/0/params/3/argument", "0",
     "launches[0].params[3].argument: argument 0 is not a scalar"},
    {"/launches/0/mask", "[]",
     "launches[0].mask: expected a string, found a list"},
};

INSTANTIATE_TEST_SUITE_P(Values, Refuses, testing::ValuesIn(values));

/// Every field of every object: removing it and adding an unknown neighbour are
/// both refused, with the place.
void visitObjects(const Json &json, const std::string &pointer,
                  const std::string &path,
                  const std::function<void(const Json &, const std::string &,
                                           const std::string &)> &visit) {
  if (json.is_object()) {
    visit(json, pointer, path);
    for (const auto &item : json.items())
      visitObjects(item.value(), pointer + "/" + item.key(),
                   (path.empty() ? "" : path + ".") + item.key(), visit);
  } else if (json.is_array()) {
    for (size_t i = 0; i < json.size(); ++i)
      visitObjects(json[i], pointer + "/" + std::to_string(i),
                   path + "[" + std::to_string(i) + "]", visit);
  }
}

TEST(Manifest, RefusesEveryMissingAndUnknownField) {
  int fields = 0;
  Json json = Json::parse(sample);
  visitObjects(json, "", "",
               [&](const Json &object, const std::string &pointer,
                   const std::string &path) {
                 std::string prefix = path.empty() ? "" : path + ".";
                 for (const auto &item : object.items()) {
                   Json broken = json;
                   broken[Json::json_pointer(pointer)].erase(item.key());
                   EXPECT_EQ(errorOf(parseManifest(broken.dump())),
                             prefix + item.key() + ": missing field");
                   ++fields;
                 }
                 Json broken = json;
                 broken[Json::json_pointer(pointer)]["zzz"] = 1;
                 EXPECT_EQ(errorOf(parseManifest(broken.dump())),
                           prefix + "zzz: unknown field");
               });
  EXPECT_EQ(fields, 8 + 3 + 6 * 6 - 1 + 3 + 7 + 2 * 2 + 2 + 3 + 3 + 2);
}

TEST(Manifest, RefusesRepeatedFields) {
  std::string text = sample;
  text.replace(text.find("\"threads\": 128"), 14,
               "\"threads\": 128, \"threads\": 64");
  EXPECT_EQ(errorOf(parseManifest(text)),
            "the field \"threads\" occurs twice in one object");
}

TEST(Manifest, TheVersionComesFirst) {
  EXPECT_EQ(errorOf(parseManifest(R"({"format": 9, "new": []})")),
            "format: expected version 1, found 9");
}

TEST(Manifest, RefusesTextThatIsNotJson) {
  for (const char *text : {"", "{", "[1", "{\"format\": 1,}", "\xff", "{} x",
                           "{\"format\": 1e999}"})
    EXPECT_EQ(errorOf(parseManifest(text)).substr(0, 15), "not valid JSON:")
        << text;
  EXPECT_EQ(errorOf(parseManifest("[]")), "expected an object, found a list");
  EXPECT_EQ(errorOf(parseManifest(std::string(100000, '['))),
            "the JSON text is nested more than 256 deep");
  std::string deep = "1";
  for (int i = 0; i < 80; ++i)
    deep = R"({"op": "add", "args": [1, )" + deep + "]}";
  Json json = Json::parse(sample);
  json["launches"][0]["grid"] = Json::parse(deep);
  EXPECT_NE(errorOf(parseManifest(json.dump()))
                .find("the expression is nested more than 64 deep"),
            std::string::npos);
}

TEST(Manifest, EveryTruncationIsRefused) {
  std::string text = sample;
  for (size_t n = 0; n + 2 < text.size(); ++n)
    ASSERT_FALSE(parseManifest(text.substr(0, n))) << n;
}

TEST(Manifest, DamagedTextIsReadOrRefused) {
  std::mt19937 random(9);
  int refused = 0;
  for (int trial = 0; trial < 1000; ++trial) {
    std::string text = sample;
    for (size_t n = 1 + random() % 3; n > 0; --n)
      text[random() % text.size()] = static_cast<char>(random());
    Result<Manifest> m = parseManifest(text);
    refused += !m;
    if (m) {
      EXPECT_TRUE(*parseManifest(*writeManifest(*m)) == *m) << text;
    }
  }
  EXPECT_GT(refused, 500);
}

TEST(Manifest, WriterRefusesWhatTheReaderWould) {
  Manifest m = *parseManifest(sample);
  m.launches[0].threads = 0;
  EXPECT_EQ(errorOf(writeManifest(m)),
            "launches[0].threads: expected 1 to 1024, found 0");
  m = *parseManifest(sample);
  m.launches[0].mask = "\xff";
  EXPECT_NE(errorOf(writeManifest(m)).find("not valid UTF-8"),
            std::string::npos);
}

TEST(Manifest, TooManyParameters) {
  Manifest m = *parseManifest(sample);
  m.launches[0].params.assign(512, ParamDesc::pointer(1));
  EXPECT_TRUE(writeManifest(m));
  m.launches[0].params.push_back(ParamDesc::pointer(1));
  EXPECT_EQ(errorOf(writeManifest(m)),
            "launches[0].params: expected at most 512 parameters, found 513");
}

/// The sample for sm_90a, with one more parameter.
Json withTensorMap(const std::string &param) {
  Json json = Json::parse(sample);
  json["target"] = "sm_90a";
  json["launches"][0]["params"].push_back(Json::parse(param));
  return json;
}

TEST(Manifest, PersistentLaunches) {
  Json json = Json::parse(sample);
  json["launches"][0]["persistent"] = true;
  Result<Manifest> m = parseManifest(json.dump());
  ASSERT_TRUE(m) << errorOf(m);
  EXPECT_TRUE(m->launches[0].persistent);
  std::string text = *writeManifest(*m);
  EXPECT_NE(text.find("\"persistent\": true"), std::string::npos) << text;
  EXPECT_TRUE(*parseManifest(text) == *m);
  json["launches"][0]["persistent"] = 1;
  EXPECT_EQ(errorOf(parseManifest(json.dump())),
            "launches[0].persistent: expected true or false, found a number");
  m->target = "x86-64";
  m->code.kind = "object";
  m->launches[0].threads = 1;
  EXPECT_EQ(errorOf(writeManifest(*m)),
            "launches[0].persistent: expected false for a CPU, where every "
            "item is a call");
}

TEST(Manifest, TensorMaps) {
  const char *param = R"({"kind": "tensor_map", "buffer": 1, "box": [1, 1, )"
                      R"(128, 64], "swizzle": 128})";
  Result<Manifest> m = parseManifest(withTensorMap(param).dump());
  ASSERT_TRUE(m) << errorOf(m);
  EXPECT_EQ(m->launches[0].params[4],
            ParamDesc::tensorMap(1, {1, 1, 128, 64}, 128));
  std::string text = *writeManifest(*m);
  EXPECT_NE(text.find(param), std::string::npos) << text;
  EXPECT_TRUE(*parseManifest(text) == *m);

  const char *classes = R"({"kind": "tensor_map", "buffer": 1, "box": [1, 1, )"
                        R"(128, 64], "swizzle": 128, "classes": {"modulus": 4)"
                        R"(, "longer": true}})";
  Result<Manifest> packed = parseManifest(withTensorMap(classes).dump());
  ASSERT_TRUE(packed) << errorOf(packed);
  EXPECT_EQ(packed->launches[0].params[4],
            ParamDesc::tensorMap(1, {1, 1, 128, 64}, 128, 4, true));
  text = *writeManifest(*packed);
  EXPECT_NE(text.find(classes), std::string::npos) << text;
  EXPECT_TRUE(*parseManifest(text) == *packed);
  Manifest flat = *packed;
  flat.buffers[1].shape.push_back(8);
  flat.launches[0].params[4].box.push_back(8);
  EXPECT_EQ(errorOf(writeManifest(flat)),
            "launches[0].params[4].classes: expected a buffer of 2 to 4 "
            "dimensions, 'k' has 5");

  const char *asked = R"({"kind": "tensor_maps_fit"})";
  Result<Manifest> asking = parseManifest(withTensorMap(asked).dump());
  ASSERT_TRUE(asking) << errorOf(asking);
  EXPECT_EQ(asking->launches[0].params[4], ParamDesc::tensorMapsFit());
  text = *writeManifest(*asking);
  EXPECT_NE(text.find(asked), std::string::npos) << text;
  EXPECT_TRUE(*parseManifest(text) == *asking);

  Manifest old = *m;
  old.target = "sm_80";
  EXPECT_EQ(errorOf(writeManifest(old)),
            "launches[0].params[4].kind: tensor maps need sm_90 or newer, the "
            "target is 'sm_80'");

  const std::pair<const char *, const char *> cases[] = {
      {R"({"kind": "tensor_map", "buffer": 6, "box": [1], "swizzle": 0})",
       "buffer: expected a buffer number below 6, found 6"},
      {R"({"kind": "tensor_map", "buffer": 1, "box": [1, 64], "swizzle": 0})",
       "box: expected 4 extents, the rank of 'k', found 2"},
      {R"({"kind": "tensor_map", "buffer": 1, "box": [1, 1, 257, 64], )"
       R"("swizzle": 128})",
       "box[2]: expected 1 to 256, found 257"},
      {R"({"kind": "tensor_map", "buffer": 1, "box": [1, 1, 8, 64], )"
       R"("swizzle": 256})",
       "swizzle: expected 0, 32, 64 or 128, found 256"},
      {R"({"kind": "tensor_map", "buffer": 1, "box": [1, 1, 8, 32], )"
       R"("swizzle": 128})",
       "box[3]: expected the 128 bytes of the swizzle, found 64"},
      {R"({"kind": "tensor_map", "buffer": 1, "box": [1, 1, 8, 4], )"
       R"("swizzle": 0})",
       "box[3]: expected a multiple of 16 bytes, found 8"},
      {R"({"kind": "tensor_maps_fit", "buffer": 1})", "buffer: unknown field"},
      {R"({"kind": "tensor_map", "buffer": 1, "box": 8, "swizzle": 0})",
       "box: expected a list, found a number"},
      {R"({"kind": "tensor_map", "buffer": 1, "box": [1, 1, 8, 64]})",
       "swizzle: missing field"},
      {R"({"kind": "tensor_map", "buffer": 1, "box": [1, 1, 8, 64], )"
       R"("swizzle": 128, "dim": 0})",
       "dim: unknown field"},
      {R"({"kind": "tensor_map", "buffer": 1, "box": [1, 1, 8, 64], )"
       R"("swizzle": 128, "classes": {"modulus": 1, "longer": true}})",
       "classes.modulus: expected at least 2, found 1"},
      {R"({"kind": "tensor_map", "buffer": 1, "box": [1, 1, 8, 64], )"
       R"("swizzle": 128, "classes": {"modulus": 0, "longer": true}})",
       "classes.modulus: expected 2 to 2147483647, found 0"},
      {R"({"kind": "tensor_map", "buffer": 1, "box": [1, 1, 8, 64], )"
       R"("swizzle": 128, "classes": {"modulus": 3, "longer": 1}})",
       "classes.longer: expected true or false, found a number"},
  };
  for (const auto &[bad, message] : cases)
    EXPECT_EQ(errorOf(parseManifest(withTensorMap(bad).dump())),
              std::string("launches[0].params[4].") + message);
}

//===----------------------------------------------------------------------===//
// parse(write(m)) == m
//===----------------------------------------------------------------------===//

class RandomManifest {
public:
  explicit RandomManifest(unsigned seed) : random(seed) {}

  Manifest make() {
    Manifest m;
    m.compiler = text();
    m.target = pick({"sm_80", "sm_86", "sm_90a", "sm_120f"});
    m.function = text();
    m.code.file = "f" + std::to_string(random() % 100) + ".ptx";
    for (int i = 0; i < 64; ++i)
      m.code.sha256 += "0123456789abcdef"[random() % 16];
    int64_t arguments = 0, results = 0;
    for (size_t i = 0, n = random() % 6; i < n; ++i)
      m.buffers.push_back(buffer(BufferRole::Argument, arguments++));
    for (size_t i = 0, n = random() % 4; i < n; ++i)
      m.buffers.push_back(buffer(BufferRole::Result, results++));
    for (size_t i = 0, n = random() % 3; i < n; ++i)
      m.buffers.push_back(buffer(BufferRole::Temporary, 0));
    for (size_t i = 0, n = random() % 3; i < n; ++i)
      m.scalars.push_back({arguments++, "s" + std::to_string(i),
                           ElementType(5 + random() % 3)});
    std::shuffle(m.buffers.begin(), m.buffers.end(), random);
    std::shuffle(m.scalars.begin(), m.scalars.end(), random);
    for (size_t i = 0, n = random() % 4; i < n; ++i)
      m.launches.push_back(launch(m));
    return m;
  }

private:
  std::string pick(std::vector<std::string> words) {
    return words[random() % words.size()];
  }
  /// Text with everything that JSON has to escape.
  std::string text() {
    std::string result = "t";
    for (size_t n = random() % 8; n > 0; --n)
      result += pick({"\"", "\\", "\n", "\t", "\x01", "<%w>", "\xc3\xa9",
                      "\xf0\x9f\x98\x80", " ", "/", "null"});
    return result;
  }
  BufferDesc buffer(BufferRole role, int64_t number) {
    BufferDesc b;
    b.role = role;
    b.number = number;
    b.name = text() + std::to_string(names++);
    b.type = ElementType(random() % 7);
    for (size_t d = 0, rank = random() % 5; d < rank; ++d) {
      if (role == BufferRole::Argument && random() % 2) {
        bound.push_back(pick({"d0", "_x", "N1", "batch"}));
        b.shape.emplace_back(bound.back());
      } else if (!bound.empty() && random() % 2) {
        b.shape.emplace_back(pick(bound));
      } else {
        b.shape.emplace_back(static_cast<int64_t>(random() >> (random() % 64)) &
                             INT64_MAX);
      }
    }
    b.alignment = int64_t(8) << random() % 6;
    return b;
  }
  Expression expression(int depth) {
    size_t choice = random() % (depth ? 7 : 2);
    if (choice == 0 && !bound.empty())
      return pick(bound);
    if (choice < 2)
      return static_cast<int64_t>(random());
    auto kind = static_cast<Expression::Kind>(choice);
    std::vector<Expression> args = {expression(depth - 1)};
    if (kind == Expression::Kind::CeilDiv)
      args.push_back(static_cast<int64_t>(1 + random() % 256));
    else
      for (size_t n = 1 + random() % 3; n > 0; --n)
        args.push_back(expression(depth - 1));
    return {kind, std::move(args)};
  }
  LaunchDesc launch(const Manifest &m) {
    LaunchDesc l;
    l.entry = pick({"f_0", "_k", "main$1"});
    l.grid = expression(3);
    l.threads = 1 + random() % 1024;
    l.shared = random() % (1 << 18);
    for (size_t n = random() % 6; n > 0; --n) {
      if (!m.scalars.empty() && random() % 4 == 0) {
        l.params.push_back(
            ParamDesc::scalar(m.scalars[random() % m.scalars.size()].argument));
        continue;
      }
      if (m.buffers.empty())
        continue;
      auto index = static_cast<int64_t>(random() % m.buffers.size());
      size_t rank = m.buffers[index].shape.size();
      auto dim = static_cast<int64_t>(rank ? random() % rank : 0);
      l.params.push_back(rank == 0 || random() % 3 == 0
                             ? ParamDesc::pointer(index)
                         : random() % 2 ? ParamDesc::size(index, dim)
                                        : ParamDesc::stride(index, dim));
    }
    l.schedule = text();
    l.mask = text();
    return l;
  }

  std::mt19937_64 random;
  std::vector<std::string> bound;
  int names = 0;
};

TEST(Manifest, WritingAndParsingGivesItBack) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    Manifest m = RandomManifest(seed).make();
    Result<std::string> json = writeManifest(m);
    ASSERT_TRUE(json) << seed << ": " << errorOf(json);
    Result<Manifest> back = parseManifest(*json);
    ASSERT_TRUE(back) << seed << ": " << errorOf(back) << "\n" << *json;
    ASSERT_TRUE(*back == m) << seed << "\n" << *json;
    ASSERT_EQ(*writeManifest(*back), *json) << seed;
  }
}

} // namespace
