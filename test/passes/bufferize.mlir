// RUN: attn-opt %s --attn-tile=q-tile=16 --attn-to-online --attn-tile-kv --attn-decompose --cse --attn-bufferize --attn-statistics 2>%t.stats | FileCheck %s
// RUN: FileCheck %s --check-prefix=STATS --input-file=%t.stats

// STATS: attn-bufferize
// STATS-NEXT: (S) 1 allocs
// STATS-NEXT: (S) 4 out-arguments

// Results follow the arguments, in order; nothing is copied or allocated.
// CHECK-LABEL: func.func @two_results(
// CHECK-SAME: %[[Q:[a-z0-9]+]]: memref<1x2x?x16xf16, strided<[?, ?, ?, 1], offset: ?>>, %[[X:[a-z0-9]+]]: memref<?xi32, strided<[1], offset: ?>>, %[[W:[a-z0-9]+]]: index,
// CHECK-SAME: %[[O:[a-z0-9]+]]: memref<1x2x?x16xf16, strided<[?, ?, ?, 1], offset: ?>>, %[[L:[a-z0-9]+]]: memref<1x2x?xf32, strided<[?, ?, 1], offset: ?>>) {
// CHECK-NOT: memref.alloc
// CHECK: scf.forall (%[[B:.*]], %[[H:.*]], %[[I:.*]]) =
// CHECK: %[[QS:.*]] = memref.subview %[[Q]][%[[B]], %[[H]], %[[I]], 0] [1, 1, %{{.*}}, 16]
// CHECK: memref.load %[[X]][%[[B]]]
// CHECK: vector.transfer_read %[[QS]]
// CHECK: %[[OS:.*]] = memref.subview %[[O]][%[[B]], %[[H]], %[[I]], 0] [1, 1, %{{.*}}, 16]
// CHECK: vector.transfer_write %{{.*}}, %[[OS]]
// CHECK: %[[LS:.*]] = memref.subview %[[L]][%[[B]], %[[H]], %[[I]]] [1, 1, %{{.*}}]
// CHECK: vector.transfer_write %{{.*}}, %[[LS]]
// CHECK-NOT: memref.copy
// CHECK: return{{$}}
func.func @two_results(%q: tensor<1x2x?x16xf16>, %x: tensor<?xi32>, %w: index)
    -> (tensor<1x2x?x16xf16>, tensor<1x2x?xf32>) {
  %o, %l = attn.attention %q, %q, %q align(%x : tensor<?xi32>)
      : (tensor<1x2x?x16xf16>, tensor<1x2x?x16xf16>, tensor<1x2x?x16xf16>) -> (tensor<1x2x?x16xf16>, tensor<1x2x?xf32>)
  return %o, %l : tensor<1x2x?x16xf16>, tensor<1x2x?xf32>
}

// What stays inside is allocated, row-major; what is returned and read as well is not.
// CHECK-LABEL: func.func @chain(
// CHECK-SAME: %[[Q:[a-z0-9]+]]: memref<1x2x?x16xf32, {{[^>]*}}>>, %[[OA:[a-z0-9]+]]: memref<{{[^>]*}}>>, %[[OC:[a-z0-9]+]]: memref<
// CHECK: scf.forall
// CHECK: memref.subview %[[OA]]
// CHECK: %[[ALLOC:.*]] = memref.alloc(%{{.*}}) : memref<1x2x?x16xf32>
// CHECK: %[[CAST:.*]] = memref.cast %[[ALLOC]] : memref<1x2x?x16xf32> to memref<1x2x?x16xf32, strided<[?, ?, ?, 1], offset: ?>>
// CHECK-NOT: memref.alloc
// CHECK: scf.forall
// CHECK: memref.subview %[[OA]]
// CHECK: memref.subview %[[CAST]]
// CHECK: scf.forall
// CHECK: memref.subview %[[CAST]]
// CHECK: memref.subview %[[OC]]
// CHECK: return{{$}}
func.func @chain(%q: tensor<1x2x?x16xf32>) -> (tensor<1x2x?x16xf32>, tensor<1x2x?x16xf32>) {
  %a = attn.attention %q, %q, %q
      : (tensor<1x2x?x16xf32>, tensor<1x2x?x16xf32>, tensor<1x2x?x16xf32>) -> tensor<1x2x?x16xf32>
  %b = attn.attention %q, %a, %q
      : (tensor<1x2x?x16xf32>, tensor<1x2x?x16xf32>, tensor<1x2x?x16xf32>) -> tensor<1x2x?x16xf32>
  %c = attn.attention %q, %b, %b
      : (tensor<1x2x?x16xf32>, tensor<1x2x?x16xf32>, tensor<1x2x?x16xf32>) -> tensor<1x2x?x16xf32>
  return %a, %c : tensor<1x2x?x16xf32>, tensor<1x2x?x16xf32>
}

// CHECK-LABEL: func.func private @declared(memref<4xf32, strided<[1], offset: ?>>)
func.func private @declared(tensor<4xf32>)
