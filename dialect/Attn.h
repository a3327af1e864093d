//===- Attn.h - the attn dialect ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_DIALECT_ATTN_H
#define ATTN_DIALECT_ATTN_H

#include "attn/dialect/mask/MaskTypes.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/IntegerSet.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "attn/dialect/AttnDialect.h.inc"
#include "attn/dialect/AttnEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "attn/dialect/AttnAttrs.h.inc"

#include "attn/dialect/Parts.h"

#define GET_OP_CLASSES
#include "attn/dialect/AttnOps.h.inc"

#endif // ATTN_DIALECT_ATTN_H
