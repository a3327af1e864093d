// The instructions of the loops, in PTX. One tile of 128 x 64 at head size 64 takes a warp 64 products for the scores and 64
// for the sums; the partial tiles come first, then the full ones.
// RUN: attn-opt %s --emit=ptx -o %t
// RUN: grep -c mma.sync %t | FileCheck %s --check-prefix=MMA
// MMA: {{^}}256{{$}}

// From the first to the last product of a full tile there is nothing but products, loads of fragments and the softmax: no
// comparison, no selection, no branch, and one fma and one ex2 for each pair besides the ex2 of 4 rows.
// RUN: awk '/mma.sync/ {n++} n > 128 && n < 256' %t > %t.full
// RUN: FileCheck %s --check-prefix=FULL --input-file=%t.full
// FULL-NOT: setp
// FULL-NOT: selp
// FULL-NOT: bra
// FULL-NOT: bar.
// FULL-NOT: st.shared
// RUN: grep -c ex2.approx.ftz.f32 %t.full | FileCheck %s --check-prefix=EXP
// EXP: {{^}}68{{$}}
// RUN: grep -c fma.rn.f32 %t.full | FileCheck %s --check-prefix=FMA
// FMA: {{^}}68{{$}}
// RUN: grep -c cvt.rn.bf16x2.f32 %t.full | FileCheck %s --check-prefix=CVT
// CVT: {{^}}32{{$}}
func.func @f(%q: tensor<1x8x?x64xbf16>, %k: tensor<1x2x?x64xbf16>, %v: tensor<1x2x?x64xbf16>) -> tensor<1x8x?x64xbf16> {
  %o = attn.attention %q, %k, %v mask(causal)
      : (tensor<1x8x?x64xbf16>, tensor<1x2x?x64xbf16>, tensor<1x2x?x64xbf16>) -> tensor<1x8x?x64xbf16>
  return %o : tensor<1x8x?x64xbf16>
}
