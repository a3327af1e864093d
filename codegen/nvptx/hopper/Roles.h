//===- Roles.h - schedules with warps that load and warps that compute ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_NVPTX_HOPPER_ROLES_H
#define ATTN_CODEGEN_NVPTX_HOPPER_ROLES_H

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace mlir {
class IRMapping;
}

namespace mlir::attn {
class ScheduleAttr;
}

namespace mlir::attn::nvptx {

/// Schedules the one scf.forall of a kernel for `schedule`, which has roles.
/// Returns the number of loops over tiles.
FailureOr<int64_t> scheduleRoles(scf::ForallOp forall, ScheduleAttr schedule);

/// The tile that `read` gives: itself, or where it reads the rows of several
/// heads, those one after the other.
Value getReadTile(vector::TransferReadOp read);
/// The tile that `write` stores, as above.
Value getStoredTile(vector::TransferWriteOp write);

/// Clones what `value` is computed from inside `body`, given `mapping`.
Value cloneSlice(OpBuilder &b, Value value, Block &body, IRMapping &mapping);

} // namespace mlir::attn::nvptx

#endif // ATTN_CODEGEN_NVPTX_HOPPER_ROLES_H
