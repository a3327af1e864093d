// RUN: attn-opt %s -split-input-file -verify-diagnostics '-attn-tile-program=q-tile=128 kv-tile=64'

func.func @small_blocks(%q: tensor<1x4x256x64xf16>, %rows: tensor<33xi32>, %columns: tensor<?xi32>) -> tensor<1x4x256x64xf16> {
  // expected-error @below {{are too small for tiles of 128 x 64: a tile may meet 8 x 32 of them}}
  %o = attn.attention %q, %q, %q mask(blocks<8, 64>(%rows, %columns))
      : (tensor<1x4x256x64xf16>, tensor<1x4x256x64xf16>, tensor<1x4x256x64xf16>, tensor<33xi32>, tensor<?xi32>)
     -> tensor<1x4x256x64xf16>
  return %o : tensor<1x4x256x64xf16>
}

// -----

// Lengths are cut into classes as the keys are.
func.func @packed_lengths(%q: tensor<2x4x1024x64xf16>, %len: tensor<2xi32>) -> tensor<2x4x1024x64xf16> {
  // expected-remark @below {{mask dilated<9, 9, 4> & keys<0, s0> runs as 4 residue classes, each of them window<9, 9> & affine_set<}}
  %o = attn.attention %q, %q, %q mask(dilated<9, 9, 4> & lengths(%len))
      : (tensor<2x4x1024x64xf16>, tensor<2x4x1024x64xf16>, tensor<2x4x1024x64xf16>, tensor<2xi32>) -> tensor<2x4x1024x64xf16>
  return %o : tensor<2x4x1024x64xf16>
}

// -----

func.func @unpacked_documents(%q: tensor<2x4x1024x64xf16>, %ids: tensor<2x1024xi32>) -> tensor<2x4x1024x64xf16> {
  // expected-remark @below {{are not packed: its tensors speak of rows and keys as they lie}}
  %o = attn.attention %q, %q, %q mask(dilated<9, 9, 4> & documents(%ids, %ids))
      : (tensor<2x4x1024x64xf16>, tensor<2x4x1024x64xf16>, tensor<2x4x1024x64xf16>, tensor<2x1024xi32>)
     -> tensor<2x4x1024x64xf16>
  return %o : tensor<2x4x1024x64xf16>
}
