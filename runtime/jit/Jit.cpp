//===- Jit.cpp - From source text to something that runs ------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/jit/Jit.h"

#include "attn/runtime/core/Sha256.h"
#include "attn/runtime/jit/Compiler.h"
#include "attn/runtime/jit/OnceMap.h"

#include <atomic>

using namespace attn;

struct Jit::Impl {
  explicit Impl(const JitOptions &options)
      : identity(compilerIdentity()), bundles(options.memoryEntries),
        programs(options.memoryEntries) {
    std::string folder = options.cacheFolder.empty() ? defaultCacheFolder()
                                                     : options.cacheFolder;
    if (!options.diskCache || isCacheTurnedOff())
      noDisk = {ErrorCode::Unsupported, "the disk cache is turned off"};
    else if (folder.empty())
      noDisk = {ErrorCode::Unsupported, "the user has no home folder"};
    else if (identity.empty())
      noDisk = {ErrorCode::Unsupported,
                "this build of the compiler has no build id, so that its "
                "kernels cannot be told from another's"};
    else if (Result<std::unique_ptr<DiskCache>> opened =
                 DiskCache::open(folder, options.cacheBytes);
             opened)
      disk = std::move(*opened);
    else
      noDisk = opened.error();
  }

  Result<std::shared_ptr<const Bundle>> make(const CompileRequest &request);

  const std::string identity;
  std::unique_ptr<DiskCache> disk;
  Error noDisk;
  OnceMap<Bundle> bundles;
  OnceMap<Executable> programs;
  std::atomic<uint64_t> memoryHits{0}, diskHits{0}, compilations{0};
};

Jit::Jit(const JitOptions &options) : impl(std::make_unique<Impl>(options)) {}
Jit::~Jit() = default;

Result<std::shared_ptr<const Bundle>>
Jit::Impl::make(const CompileRequest &request) {
  Result<std::unique_ptr<ParsedSource>> source =
      ParsedSource::parse(request.source, request.function);
  if (!source)
    return source.error();
  std::string key =
      disk ? sha256("attn kernel\n" + identity + "\nformat " +
                    std::to_string(Manifest::formatVersion) + "\ntarget " +
                    request.target + "\n" + (*source)->canonicalText())
           : "";
  if (disk)
    if (std::optional<Bundle> stored = disk->load(key)) {
      ++diskHits;
      return std::make_shared<const Bundle>(std::move(*stored));
    }
  Result<Bundle> bundle = (*source)->compile(request.target);
  if (!bundle)
    return bundle.error();
  ++compilations;
  // A full disk must not keep anybody from running what was compiled.
  if (disk)
    (void)disk->store(key, *bundle);
  return std::make_shared<const Bundle>(std::move(*bundle));
}

/// Function names and targets hold no NUL.
static std::string keyOf(const CompileRequest &request) {
  std::string key;
  key.reserve(request.target.size() + request.function.size() +
              request.source.size() + 2);
  key.append(request.target).push_back('\0');
  key.append(request.function).push_back('\0');
  return key.append(request.source);
}

Result<std::shared_ptr<const Bundle>>
Jit::compile(const CompileRequest &request) {
  bool wasThere = false;
  Result<std::shared_ptr<const Bundle>> bundle = impl->bundles.get(
      keyOf(request), [&] { return impl->make(request); }, wasThere);
  impl->memoryHits += wasThere && bundle;
  return bundle;
}

Result<std::shared_ptr<const Executable>>
Jit::load(const std::shared_ptr<Device> &device,
          const CompileRequest &request) {
  // The device stays alive in the cached program, so its address stays its own.
  std::string key = keyOf(request);
  const Device *address = device.get();
  key.append(reinterpret_cast<const char *>(&address), sizeof address);
  bool wasThere = false;
  using Program = Result<std::shared_ptr<const Executable>>;
  Program program = impl->programs.get(
      key,
      [&]() -> Program {
        CompileRequest targeted = request;
        if (targeted.target.empty()) {
          Result<std::string> target = targetOf(*device);
          if (!target)
            return target.error();
          targeted.target = std::move(*target);
        }
        Result<std::shared_ptr<const Bundle>> bundle = compile(targeted);
        if (!bundle)
          return bundle.error();
        Result<std::unique_ptr<Executable>> loaded =
            Executable::load(device, **bundle);
        if (!loaded)
          return loaded.error();
        return std::shared_ptr<const Executable>(std::move(*loaded));
      },
      wasThere);
  impl->memoryHits += wasThere && program;
  return program;
}

void Jit::clear() {
  impl->bundles.clear();
  impl->programs.clear();
}

Jit::Statistics Jit::statistics() const {
  return {impl->memoryHits, impl->diskHits, impl->compilations};
}

Result<std::string> Jit::cacheFolder() const {
  if (impl->disk)
    return impl->disk->folder();
  return impl->noDisk;
}
