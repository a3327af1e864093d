//===- Parser.cpp - recursive descent over PTX -----------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "attn/runtime/sim/Lexer.h"

#include <cstring>
#include <set>
#include <unordered_map>

namespace attn::sim {
namespace {

uint64_t alignUp(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

/// Bits of a `.b32`-like type, 1 for `.pred`, 0 for anything else.
unsigned typeBits(std::string_view type) {
  static const std::unordered_map<std::string_view, unsigned> bits = {
      {"pred", 1}, {"b8", 8},   {"u8", 8},   {"s8", 8},      {"b16", 16},
      {"u16", 16}, {"s16", 16}, {"f16", 16}, {"bf16", 16},   {"b32", 32},
      {"u32", 32}, {"s32", 32}, {"f32", 32}, {"f16x2", 32},  {"b64", 64},
      {"u64", 64}, {"s64", 64}, {"f64", 64}, {"bf16x2", 32}, {"b128", 128},
  };
  auto found = bits.find(type);
  return found == bits.end() ? 0 : found->second;
}

/// Thrown away at the one place that returns a Result: keeps the descent free
/// of error plumbing.
struct Failure {
  Error error;
};

class Parser {
public:
  explicit Parser(std::vector<Token> tokens) : tokens(std::move(tokens)) {}

  ParsedModule run() {
    header();
    while (peek().kind != Token::End)
      moduleStatement();
    return std::move(module);
  }

private:
  [[noreturn]] void fail(const Token &token, const std::string &message) {
    throw Failure{{message, token.place.line, token.place.column}};
  }
  const Token &peek(unsigned ahead = 0) const {
    return tokens[std::min(at + ahead, tokens.size() - 1)];
  }
  const Token &next() { return tokens[at + 1 < tokens.size() ? at++ : at]; }
  bool accept(char c) {
    if (!peek().is(c))
      return false;
    next();
    return true;
  }
  static std::string show(const Token &token) {
    return token.kind == Token::End ? "the end of the text"
                                    : "'" + std::string(token.text) + "'";
  }
  void expect(char c) {
    if (!peek().is(c))
      fail(peek(), std::string("expected '") + c + "', found " + show(peek()));
    next();
  }
  bool acceptDot(std::string_view word) {
    if (peek().kind != Token::DotWord || peek().text != word)
      return false;
    next();
    return true;
  }
  std::string expectWord(const char *what) {
    if (peek().kind != Token::Word)
      fail(peek(), std::string("expected ") + what + ", found " + show(peek()));
    return std::string(next().text);
  }
  uint64_t expectInteger() {
    bool negative = accept('-');
    if (peek().kind != Token::Integer)
      fail(peek(), "expected an integer, found " + show(peek()));
    uint64_t value = next().value;
    return negative ? -value : value;
  }

  void header() {
    if (!acceptDot("version"))
      fail(peek(), "expected '.version' at the start of the module, found " +
                       show(peek()));
    std::string_view version = next().text;
    unsigned major = 0, minor = 0;
    size_t point = version.find('.');
    for (size_t i = 0; i < version.size() && i < 6; ++i)
      if (i != point)
        (point == std::string_view::npos || i < point ? major : minor) *= 10,
            (i < point ? major : minor) += version[i] - '0';
    if (major == 0 || major > 99)
      fail(tokens[at - 1], "malformed .version");
    module.version = 10 * major + minor;
    if (!acceptDot("target"))
      fail(peek(),
           "expected '.target' after '.version', found " + show(peek()));
    const Token &target = peek();
    module.target = expectWord("a target such as sm_80");
    if (module.target.compare(0, 3, "sm_") != 0)
      fail(target,
           "expected a target such as sm_80, found '" + module.target + "'");
    for (size_t i = 3; i < module.target.size(); ++i) {
      char c = module.target[i];
      if (c >= '0' && c <= '9')
        module.sm = module.sm * 10 + (c - '0');
      else
        module.variant = c;
    }
    while (accept(','))
      expectWord("a target option");
    if (acceptDot("address_size")) {
      const Token &size = peek();
      if (expectInteger() != 64)
        fail(size, "only 64-bit addresses are supported");
    }
  }

  void skipBraces() {
    expect('{');
    for (unsigned depth = 1; depth;) {
      const Token &token = next();
      if (token.kind == Token::End)
        fail(token, "unbalanced braces");
      depth += token.is('{');
      depth -= token.is('}');
    }
  }
  void skipLine() {
    for (unsigned line = peek().place.line;
         peek().kind != Token::End && peek().place.line == line;)
      next();
  }

  void moduleStatement() {
    const Token &token = peek();
    if (accept(';'))
      return;
    if (token.kind != Token::DotWord)
      fail(token, "expected a directive, found " + show(token));
    if (acceptDot("file"))
      return skipLine();
    if (acceptDot("section")) {
      while (!peek().is('{') && peek().kind != Token::End)
        next();
      return skipBraces();
    }
    if (acceptDot("pragma")) {
      next();
      return expect(';');
    }
    bool external = false;
    while (peek().kind == Token::DotWord &&
           (peek().text == "visible" || peek().text == "weak" ||
            peek().text == "extern" || peek().text == "common"))
      external |= next().text == "extern";
    if (acceptDot("entry"))
      return entry();
    if (acceptDot("func"))
      return skipFunction();
    if (!variable(external, nullptr))
      fail(peek(), "unknown directive '." + std::string(peek().text) + "'");
  }

  /// A device function: its name is kept, so that a call of it can be refused
  /// by name.
  void skipFunction() {
    if (peek().is('('))
      while (!accept(')'))
        if (next().kind == Token::End)
          fail(peek(), "unbalanced parentheses");
    acceptDot("noreturn");
    module.functions.push_back(expectWord("a function name"));
    while (!peek().is('{') && !peek().is(';')) {
      if (peek().kind == Token::End)
        fail(peek(), "expected a function body, found the end of the text");
      next();
    }
    if (!accept(';'))
      skipBraces();
  }

  /// [.space] [.align n] [.vN] .type name [dims] [= init] ; -- false if this is
  /// no variable.
  bool variable(bool external, Function *function) {
    Space space;
    if (acceptDot("global"))
      space = Space::Global;
    else if (acceptDot("shared"))
      space = Space::Shared;
    else if (acceptDot("const"))
      space = Space::Const;
    else if (acceptDot("local"))
      space = Space::Local;
    else
      return false;
    unsigned alignment = 0, lanes = 1, bits = 0;
    while (peek().kind == Token::DotWord) {
      const Token &word = next();
      if (word.text == "align")
        alignment = unsigned(expectInteger());
      else if (word.text == "v2" || word.text == "v4")
        lanes = word.text[1] - '0';
      else if (typeBits(word.text) >= 8)
        bits = typeBits(word.text);
      else if (word.text != "attribute" && word.text != "managed")
        fail(word,
             "unknown variable attribute '." + std::string(word.text) + "'");
    }
    if (!bits)
      fail(peek(), "expected a type before the variable's name");
    do {
      Variable result;
      result.space = space;
      result.name = expectWord("a variable name");
      uint64_t count = lanes;
      bool open = false;
      while (accept('[')) {
        if (peek().is(']'))
          open = true;
        else
          count *= expectInteger();
        expect(']');
      }
      result.alignment = alignment ? alignment : bits / 8 * lanes;
      std::vector<uint64_t> values;
      if (accept('='))
        initialiser(values, bits);
      if (open && !external)
        count = values.size();
      result.bytes = open && external ? 0 : count * (bits / 8);
      place(result, values, bits, function);
    } while (accept(','));
    expect(';');
    return true;
  }

  void initialiser(std::vector<uint64_t> &values, unsigned bits) {
    if (accept('{')) {
      while (!peek().is('}')) {
        initialiser(values, bits);
        if (!accept(','))
          break;
      }
      return expect('}');
    }
    bool negative = accept('-');
    const Token &token = next();
    if (token.kind == Token::Integer) {
      values.push_back(negative ? -token.value : token.value);
    } else if (token.kind == Token::Float) {
      uint64_t value = token.value;
      if (!token.single && bits == 32) {
        double wide;
        std::memcpy(&wide, &value, 8);
        float narrow = float(negative ? -wide : wide);
        value = 0;
        std::memcpy(&value, &narrow, 4);
      } else if (negative) {
        value ^= 1ull << (bits - 1);
      }
      values.push_back(value);
    } else {
      fail(token, "expected a number in the initialiser, found " + show(token));
    }
  }

  void place(Variable &variable, const std::vector<uint64_t> &values,
             unsigned bits, Function *function) {
    if (variable.space == Space::Local) {
      if (!function)
        fail(peek(), ".local variables belong into a function");
      variable.offset = alignUp(function->localBytes, variable.alignment);
      function->localBytes = variable.offset + variable.bytes;
    } else if (variable.space == Space::Global ||
               variable.space == Space::Const) {
      std::vector<uint8_t> &image = variable.space == Space::Global
                                        ? module.globalImage
                                        : module.constImage;
      variable.offset = alignUp(image.size(), variable.alignment);
      image.resize(variable.offset + variable.bytes);
      if (values.size() * (bits / 8) > variable.bytes)
        fail(peek(), "more initial values than elements");
      for (size_t i = 0; i < values.size(); ++i)
        std::memcpy(&image[variable.offset + i * (bits / 8)], &values[i],
                    bits / 8);
      module.variables.push_back(variable);
      return;
    } else if (!values.empty()) {
      fail(peek(), ".shared variables cannot have initial values");
    }
    (function ? function->variables : module.variables).push_back(variable);
  }

  void entry() {
    Function function;
    function.place = peek().place;
    function.name = expectWord("an entry name");
    if (accept('(')) {
      while (!peek().is(')')) {
        parameter(function);
        if (!accept(','))
          break;
      }
      expect(')');
    }
    while (peek().kind == Token::DotWord) {
      const Token &word = next();
      if (word.text == "maxntid" || word.text == "reqntid") {
        unsigned dims[3] = {1, 1, 1};
        for (unsigned i = 0; i < 3; ++i) {
          dims[i] = unsigned(expectInteger());
          if (!accept(','))
            break;
        }
        if (word.text == "reqntid")
          std::memcpy(function.requiredThreads, dims, sizeof dims);
        else
          function.maxThreads = dims[0] * dims[1] * dims[2];
      } else if (word.text == "maxnreg") {
        function.maxRegisters = unsigned(expectInteger());
      } else if (word.text == "minnctapersm") {
        function.blocksPerUnit = unsigned(expectInteger());
      } else if (word.text == "maxnctapersm") {
        expectInteger();
      } else if (word.text == "reqnctapercluster" ||
                 word.text == "maxclusterrank") {
        do
          if (expectInteger() != 1)
            fail(word, "only clusters of one block are supported");
        while (accept(','));
      } else if (word.text == "explicitcluster") {
      } else if (word.text == "pragma") {
        next();
        expect(';');
      } else {
        fail(word,
             "unknown performance directive '." + std::string(word.text) + "'");
      }
    }
    if (!peek().is('{'))
      fail(peek(), "expected the body of '" + function.name + "', found " +
                       show(peek()));
    scopes.clear();
    body(function);
    layoutShared(function);
    module.entries.push_back(std::move(function));
  }

  void parameter(Function &function) {
    if (!acceptDot("param"))
      fail(peek(), "expected '.param', found " + show(peek()));
    Variable result;
    result.space = Space::Param;
    unsigned alignment = 0, bits = 0;
    while (peek().kind == Token::DotWord) {
      const Token &word = next();
      if (word.text == "align") {
        // After `.ptr` this is the alignment of what the pointer points to.
        unsigned value = unsigned(expectInteger());
        if (!bits)
          alignment = value;
      } else if (typeBits(word.text) >= 8) {
        bits = typeBits(word.text);
      } else if (word.text != "ptr" && word.text != "global" &&
                 word.text != "shared" && word.text != "const" &&
                 word.text != "local") {
        fail(word,
             "unknown parameter attribute '." + std::string(word.text) + "'");
      }
    }
    if (!bits)
      fail(peek(), "expected a parameter type");
    result.name = expectWord("a parameter name");
    result.bytes = bits / 8;
    result.alignment = alignment ? alignment : bits / 8;
    if (accept('[')) {
      result.bytes *= expectInteger();
      expect(']');
    }
    result.offset = alignUp(function.parameterBytes, result.alignment);
    function.parameterBytes = unsigned(result.offset + result.bytes);
    function.parameters.push_back(result);
  }

  /// Static shared variables that the function names, then the dynamic block at
  /// the end.
  void layoutShared(Function &function) {
    std::set<std::string> used;
    for (const Instruction &instruction : function.instructions)
      for (const Operand &operand : instruction.operands)
        if (!operand.name.empty())
          used.insert(operand.name);
    for (const Variable &variable : module.variables)
      if (variable.space == Space::Shared && used.count(variable.name))
        function.variables.push_back(variable);
    for (Variable &variable : function.variables)
      if (variable.space == Space::Shared && variable.bytes) {
        variable.offset = alignUp(function.sharedBytes, variable.alignment);
        function.sharedBytes = variable.offset + variable.bytes;
      }
    for (Variable &variable : function.variables)
      if (variable.space == Space::Shared && !variable.bytes) {
        function.sharedBytes =
            alignUp(function.sharedBytes, std::max(16u, variable.alignment));
        variable.offset = function.sharedBytes;
      }
  }

  void body(Function &function) {
    expect('{');
    scopes.emplace_back();
    while (!accept('}')) {
      const Token &token = peek();
      if (token.kind == Token::End)
        fail(token, "expected '}' at the end of '" + function.name +
                        "', found the end of the text");
      if (token.is('{')) {
        body(function);
      } else if (token.kind == Token::DotWord) {
        bodyDirective(function);
      } else if (token.kind == Token::Word && peek(1).is(':')) {
        if (!function.labels.emplace(token.text, function.instructions.size())
                 .second)
          fail(token,
               "label '" + std::string(token.text) + "' is defined twice");
        next();
        next();
      } else if (!accept(';')) {
        instruction(function);
      }
    }
    scopes.pop_back();
  }

  void bodyDirective(Function &function) {
    const Token &token = peek();
    if (acceptDot("reg"))
      return registers(function);
    if (acceptDot("loc"))
      return skipLine();
    if (acceptDot("pragma")) {
      next();
      return expect(';');
    }
    bool external = acceptDot("extern");
    if (!variable(external, &function))
      fail(token, "unknown directive '." + std::string(token.text) + "'");
  }

  void registers(Function &function) {
    const Token &type = peek();
    unsigned bits = type.kind == Token::DotWord ? typeBits(type.text) : 0;
    if (!bits)
      fail(type, "expected a register type, found " + show(type));
    if (bits == 128)
      fail(type, "128-bit registers are not supported");
    next();
    do {
      std::string base = expectWord("a register name");
      if (accept('<')) {
        uint64_t count = expectInteger();
        if (count > (1u << 20))
          fail(peek(), "too many registers");
        expect('>');
        for (uint64_t i = 0; i < count; ++i)
          define(function, base + std::to_string(i), bits);
      } else {
        define(function, base, bits);
      }
    } while (accept(','));
    expect(';');
  }

  void define(Function &function, std::string name, unsigned bits) {
    scopes.back()[name] = unsigned(function.registers.size());
    function.registers.push_back({std::move(name), bits});
  }

  const unsigned *lookup(const std::string &name) const {
    for (auto scope = scopes.rbegin(); scope != scopes.rend(); ++scope) {
      auto found = scope->find(name);
      if (found != scope->end())
        return &found->second;
    }
    return nullptr;
  }

  void instruction(Function &function) {
    Instruction result;
    if (accept('@')) {
      result.predicateNegated = accept('!');
      const Token &token = peek();
      const unsigned *reg = lookup(expectWord("a predicate"));
      if (!reg || function.registers[*reg].bits != 1)
        fail(token, "expected a predicate register, found " + show(token));
      result.predicate = *reg;
    }
    result.place = peek().place;
    result.opcode = expectWord("an instruction");
    while (peek().kind == Token::DotWord)
      result.modifiers.emplace_back(next().text);
    if (result.opcode == "call")
      throw Failure{{"call is not supported: inline the function",
                     result.place.line, result.place.column}};
    if (!accept(';')) {
      do
        result.operands.push_back(operand());
      while (accept(','));
      if (!peek().is(';'))
        fail(peek(), "expected ';' after the operands, found " + show(peek()));
      next();
    }
    function.instructions.push_back(std::move(result));
  }

  Operand operand() {
    Operand result = simpleOperand();
    if (peek().is('|')) {
      next();
      result.elements.push_back(simpleOperand());
    }
    return result;
  }

  /// Word with the `.x` of a special register glued on.
  std::string qualifiedWord() {
    std::string word(next().text);
    if (word[0] == '%' && peek().kind == Token::DotWord && !lookup(word)) {
      std::string whole = word + "." + std::string(peek().text);
      if (specialRegister(whole) >= 0) {
        next();
        return whole;
      }
    }
    return word;
  }

  Operand simpleOperand() {
    Operand result;
    const Token &token = peek();
    result.place = token.place;
    if (accept('{')) {
      result.kind = Operand::Vector;
      do
        result.elements.push_back(simpleOperand());
      while (accept(','));
      expect('}');
      return result;
    }
    if (accept('[')) {
      result.kind = Operand::Address;
      address(result);
      return result;
    }
    if (accept('!'))
      result.negated = true;
    bool negative = accept('-');
    if (peek().kind == Token::Integer) {
      result.kind = Operand::Integer;
      result.value = negative ? -next().value : next().value;
      return result;
    }
    if (peek().kind == Token::Float) {
      const Token &number = next();
      result.kind = Operand::Float;
      result.value =
          number.value ^ (negative ? 1ull << (number.single ? 31 : 63) : 0);
      result.single = number.single;
      return result;
    }
    if (negative || peek().kind != Token::Word)
      fail(peek(), "expected an operand, found " + show(peek()));
    if (peek().text == "_") {
      next();
      result.kind = Operand::Sink;
      return result;
    }
    symbolOrRegister(result, token);
    return result;
  }

  void symbolOrRegister(Operand &result, const Token &token) {
    std::string word = qualifiedWord();
    if (const unsigned *reg = lookup(word)) {
      result.kind = Operand::Register;
      result.reg = *reg;
      return;
    }
    if (word == "WARP_SZ") {
      result.kind = Operand::Integer;
      result.value = 32;
      return;
    }
    if (word[0] == '%' && specialRegister(word) < 0)
      fail(token, "unknown register '" + word + "'");
    result.kind = Operand::Symbol;
    result.name = word;
    if (accept('+'))
      result.value = expectInteger();
    else if (peek().is('-'))
      result.value = expectInteger();
  }

  void address(Operand &result) {
    const Token &token = peek();
    if (token.kind == Token::Integer || token.is('-')) {
      result.value = expectInteger();
    } else if (token.kind == Token::Word) {
      std::string word = expectWord("an address");
      if (const unsigned *reg = lookup(word)) {
        result.hasBase = true;
        result.reg = *reg;
      } else {
        if (word[0] == '%')
          fail(token, "unknown register '" + word + "'");
        result.name = word;
      }
      if (accept('+') || peek().is('-'))
        result.value = expectInteger();
    } else {
      fail(token, "expected an address, found " + show(token));
    }
    if (accept(',')) {
      if (!peek().is('{'))
        fail(peek(), "expected the coordinates of a tensor in braces, found " +
                         show(peek()));
      result.elements = simpleOperand().elements;
    }
    expect(']');
  }

  std::vector<Token> tokens;
  size_t at = 0;
  ParsedModule module;
  std::vector<std::unordered_map<std::string, unsigned>> scopes;
};

} // namespace

std::string Instruction::spelled() const {
  std::string text = opcode;
  for (const std::string &modifier : modifiers)
    text += "." + modifier;
  return text;
}

Result<ParsedModule> parsePtx(std::string_view text) {
  Result<std::vector<Token>> tokens = lexPtx(text);
  if (!tokens)
    return tokens.error();
  try {
    return Parser(std::move(*tokens)).run();
  } catch (Failure &failure) {
    return failure.error;
  }
}

} // namespace attn::sim
