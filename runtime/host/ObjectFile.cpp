//===- ObjectFile.cpp - Object code in memory -----------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/host/ObjectFile.h"

#include <cstring>
#include <elf.h>
#include <optional>
#include <sys/mman.h>
#include <unistd.h>

using namespace attn;
using namespace attn::host;

namespace {

Error bad(const std::string &what) {
  return {ErrorCode::InvalidBundle, "object file: " + what};
}

class Loader {
public:
  explicit Loader(const std::string &bytes) : bytes(bytes) {}

  Status readHeaders();
  /// Where each section goes; the bytes in all.
  Result<size_t> layOut();
  Status place(char *memory);
  Status relocate(char *memory);
  Status protect(char *memory, size_t size);
  Result<std::map<std::string, void *>> functions(char *memory);

private:
  /// A T at `offset`, copied: the file need not be aligned.
  template <typename T>
  std::optional<T> read(uint64_t offset) const {
    if (offset > bytes.size() || bytes.size() - offset < sizeof(T))
      return std::nullopt;
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
  }
  bool isInside(uint64_t offset, uint64_t size) const {
    return offset <= bytes.size() && size <= bytes.size() - offset;
  }
  Result<std::string> textAt(const Elf64_Shdr &strings, uint64_t offset) const;
  Result<Elf64_Sym> symbol(uint64_t index) const;
  bool isPlaced(uint64_t section) const {
    return section < sections.size() &&
           (sections[section].sh_flags & SHF_ALLOC);
  }
  Status apply(char *memory, uint64_t section, const Elf64_Rela &relocation);

  const std::string &bytes;
  std::vector<Elf64_Shdr> sections;
  std::vector<size_t> offsets; ///< of placed sections
  size_t codeEnd = 0;          ///< executable sections come first
  uint64_t symbols = 0;        ///< the section with the symbol table; 0: none
};

size_t roundUp(size_t value, size_t to) { return (value + to - 1) / to * to; }
size_t pageSize() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

Status Loader::readHeaders() {
  std::optional<Elf64_Ehdr> header = read<Elf64_Ehdr>(0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0)
    return bad("not an ELF file");
  if (header->e_ident[EI_CLASS] != ELFCLASS64 ||
      header->e_ident[EI_DATA] != ELFDATA2LSB ||
      header->e_machine != EM_X86_64 || header->e_type != ET_REL)
    return bad("expected a relocatable file for x86-64, found type " +
               std::to_string(header->e_type) + " for machine " +
               std::to_string(header->e_machine));
  if (header->e_shentsize != sizeof(Elf64_Shdr) ||
      !isInside(header->e_shoff,
                uint64_t(header->e_shnum) * sizeof(Elf64_Shdr)))
    return bad("the section table leaves the file");
  for (uint64_t i = 0; i < header->e_shnum; ++i) {
    Elf64_Shdr section =
        *read<Elf64_Shdr>(header->e_shoff + i * sizeof(Elf64_Shdr));
    if (section.sh_type != SHT_NOBITS && section.sh_type != SHT_NULL &&
        !isInside(section.sh_offset, section.sh_size))
      return bad("section " + std::to_string(i) + " leaves the file");
    if (section.sh_type == SHT_SYMTAB)
      symbols = i;
    sections.push_back(section);
  }
  if (!symbols || sections[symbols].sh_link >= sections.size())
    return bad("no symbol table");
  return Status::success();
}

Result<size_t> Loader::layOut() {
  constexpr size_t limit = size_t(1) << 30;
  offsets.assign(sections.size(), 0);
  size_t end = 0;
  for (bool wantCode : {true, false}) {
    for (size_t i = 0; i < sections.size(); ++i) {
      const Elf64_Shdr &section = sections[i];
      bool isCode = section.sh_flags & SHF_EXECINSTR;
      if (!isPlaced(i) || isCode != wantCode)
        continue;
      size_t align = section.sh_addralign ? section.sh_addralign : 1;
      if (section.sh_size > limit || align > pageSize() ||
          (align & (align - 1)))
        return bad("section " + std::to_string(i) + " is too large");
      end = roundUp(end, align);
      offsets[i] = end;
      end += section.sh_size;
      if (end > limit)
        return bad("the sections take more than a gigabyte");
    }
    end = roundUp(end, pageSize());
    if (wantCode)
      codeEnd = end;
  }
  if (end == 0)
    return bad("no code");
  return end;
}

Status Loader::place(char *memory) {
  for (size_t i = 0; i < sections.size(); ++i)
    if (isPlaced(i) && sections[i].sh_type != SHT_NOBITS)
      std::memcpy(memory + offsets[i], bytes.data() + sections[i].sh_offset,
                  sections[i].sh_size);
  return Status::success();
}

Result<std::string> Loader::textAt(const Elf64_Shdr &strings,
                                   uint64_t offset) const {
  if (offset >= strings.sh_size)
    return bad("a name leaves its table");
  const char *begin = bytes.data() + strings.sh_offset + offset;
  size_t room = strings.sh_size - offset;
  const void *end = std::memchr(begin, 0, room);
  if (!end)
    return bad("a name leaves its table");
  return std::string(begin, static_cast<const char *>(end));
}

Result<Elf64_Sym> Loader::symbol(uint64_t index) const {
  const Elf64_Shdr &table = sections[symbols];
  if (index >= table.sh_size / sizeof(Elf64_Sym))
    return bad("a symbol number leaves its table");
  return *read<Elf64_Sym>(table.sh_offset + index * sizeof(Elf64_Sym));
}

Status Loader::apply(char *memory, uint64_t section, const Elf64_Rela &r) {
  Result<Elf64_Sym> found = symbol(ELF64_R_SYM(r.r_info));
  if (!found)
    return found.error();
  Elf64_Sym &target = *found;
  if (!isPlaced(target.st_shndx)) {
    Result<std::string> name =
        textAt(sections[sections[symbols].sh_link], target.st_name);
    return bad("the code needs '" + (name ? *name : std::string("?")) +
               "' from outside");
  }
  uint32_t type = ELF64_R_TYPE(r.r_info);
  uint64_t width = type == R_X86_64_64 || type == R_X86_64_PC64 ? 8 : 4;
  if (r.r_offset > sections[section].sh_size ||
      sections[section].sh_size - r.r_offset < width)
    return bad("a relocation leaves its section");
  char *where = memory + offsets[section] + r.r_offset;
  uint64_t base =
      reinterpret_cast<uintptr_t>(memory) + offsets[target.st_shndx];
  uint64_t value = base + target.st_value + static_cast<uint64_t>(r.r_addend);
  uint64_t relative = value - reinterpret_cast<uintptr_t>(where);
  switch (type) {
  case R_X86_64_64:
    std::memcpy(where, &value, 8);
    return Status::success();
  case R_X86_64_PC64:
    std::memcpy(where, &relative, 8);
    return Status::success();
  case R_X86_64_PC32:
  case R_X86_64_PLT32: {
    auto narrow = static_cast<int32_t>(relative);
    if (static_cast<uint64_t>(static_cast<int64_t>(narrow)) != relative)
      return bad("a relocation does not reach its target");
    std::memcpy(where, &narrow, 4);
    return Status::success();
  }
  default:
    return bad("relocation type " + std::to_string(type) + " is not supported");
  }
}

Status Loader::relocate(char *memory) {
  for (const Elf64_Shdr &section : sections) {
    if (section.sh_type == SHT_REL && isPlaced(section.sh_info))
      return bad("relocations without addends are not supported");
    if (section.sh_type != SHT_RELA || !isPlaced(section.sh_info))
      continue;
    uint64_t count = section.sh_size / sizeof(Elf64_Rela);
    for (uint64_t i = 0; i < count; ++i)
      if (Status status = apply(
              memory, section.sh_info,
              *read<Elf64_Rela>(section.sh_offset + i * sizeof(Elf64_Rela)));
          !status)
        return status;
  }
  return Status::success();
}

Status Loader::protect(char *memory, size_t size) {
  bool ok = !codeEnd || mprotect(memory, codeEnd, PROT_READ | PROT_EXEC) == 0;
  ok = ok && (codeEnd == size ||
              mprotect(memory + codeEnd, size - codeEnd, PROT_READ) == 0);
  if (!ok)
    return Error{ErrorCode::Device,
                 std::string("cannot make code executable: ") +
                     std::strerror(errno)};
  return Status::success();
}

Result<std::map<std::string, void *>> Loader::functions(char *memory) {
  std::map<std::string, void *> result;
  uint64_t count = sections[symbols].sh_size / sizeof(Elf64_Sym);
  for (uint64_t i = 0; i < count; ++i) {
    Elf64_Sym found = *symbol(i);
    if (ELF64_ST_TYPE(found.st_info) != STT_FUNC ||
        ELF64_ST_BIND(found.st_info) != STB_GLOBAL || !isPlaced(found.st_shndx))
      continue;
    Result<std::string> name =
        textAt(sections[sections[symbols].sh_link], found.st_name);
    if (!name)
      return name.error();
    if (!(sections[found.st_shndx].sh_flags & SHF_EXECINSTR) ||
        found.st_value >= sections[found.st_shndx].sh_size)
      return bad("'" + *name + "' is not in the code");
    result[*name] = memory + offsets[found.st_shndx] + found.st_value;
  }
  return result;
}

} // namespace

Result<std::unique_ptr<ObjectFile>> ObjectFile::load(const std::string &bytes) {
  Loader loader(bytes);
  if (Status status = loader.readHeaders(); !status)
    return status.error();
  Result<size_t> size = loader.layOut();
  if (!size)
    return size.error();
  void *memory = mmap(nullptr, *size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return Error{ErrorCode::OutOfMemory,
                 "cannot map " + std::to_string(*size) + " bytes for code"};
  std::unique_ptr<ObjectFile> result(new ObjectFile);
  result->memory = memory;
  result->size = *size;
  char *base = static_cast<char *>(memory);
  for (Status status :
       {loader.place(base), loader.relocate(base), loader.protect(base, *size)})
    if (!status)
      return status.error();
  Result<std::map<std::string, void *>> functions = loader.functions(base);
  if (!functions)
    return functions.error();
  result->functions = std::move(*functions);
  return result;
}

ObjectFile::~ObjectFile() {
  if (memory)
    munmap(memory, size);
}

void *ObjectFile::find(const std::string &name) const {
  auto found = functions.find(name);
  return found == functions.end() ? nullptr : found->second;
}

std::vector<std::string> ObjectFile::names() const {
  std::vector<std::string> result;
  for (const auto &[name, address] : functions)
    result.push_back(name);
  return result;
}
