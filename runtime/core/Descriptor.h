//===- Descriptor.h - A file descriptor that closes itself ------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef ATTN_RUNTIME_CORE_DESCRIPTOR_H
#define ATTN_RUNTIME_CORE_DESCRIPTOR_H

#include <unistd.h>
#include <utility>

namespace attn {

/// Closes on every way out; negative is none.
class Descriptor {
public:
  explicit Descriptor(int fd) : fd(fd) {}
  Descriptor(const Descriptor &) = delete;
  Descriptor &operator=(const Descriptor &) = delete;
  ~Descriptor() {
    if (fd >= 0)
      ::close(fd);
  }
  int get() const { return fd; }
  int release() { return std::exchange(fd, -1); }

private:
  int fd;
};

} // namespace attn

#endif // ATTN_RUNTIME_CORE_DESCRIPTOR_H
