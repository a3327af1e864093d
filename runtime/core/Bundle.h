//===- Bundle.h - A manifest and its code, in memory or a folder -*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef ATTN_RUNTIME_CORE_BUNDLE_H
#define ATTN_RUNTIME_CORE_BUNDLE_H

#include "attn/runtime/core/Manifest.h"

namespace attn {

/// What the compiler hands to the runtime (docs/Bundle.md). A bundle is code:
/// it is as trusted as a shared library. Obtain one through the functions below
/// and its manifest is verified and its hash agrees with its code.
struct Bundle {
  Manifest manifest;
  std::string code; ///< the bytes of the file that the manifest names
};

/// Puts `code` under `manifest`: fills in the hash and verifies the manifest.
Result<Bundle> makeBundle(Manifest manifest, std::string code);

/// A bundle from the text of a manifest and the bytes of its code file.
Result<Bundle> parseBundle(std::string_view manifestJson, std::string code);

/// A bundle from its folder.
Result<Bundle> loadBundle(const std::string &folder);

/// Writes the bundle to `folder` as a whole: under a temporary name beside it,
/// flushed and renamed, so that no reader sees a part of it. An existing empty
/// folder or older bundle is replaced; a folder that holds anything else is
/// refused and left alone.
Status writeBundle(const Bundle &bundle, const std::string &folder);

} // namespace attn

#endif // ATTN_RUNTIME_CORE_BUNDLE_H
