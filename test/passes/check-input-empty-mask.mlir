// RUN: attn-opt %s --attn-check-input -verify-diagnostics

// A mask that leaves every row empty is legal and most likely a slip.

func.func @contradiction(%q: tensor<1x2x?x64xf16>, %w: index) -> tensor<1x2x?x64xf16> {
  // expected-warning @below {{no query has a live key: every row of o is 0 and of lse -inf}}
  // expected-note @below {{the mask is 'causal & window<-1, s0>', the alignment is end}}
  %o = attn.attention %q, %q, %q mask(causal & window<-1, %w>)
      : (tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>) -> tensor<1x2x?x64xf16>
  return %o : tensor<1x2x?x64xf16>
}

// Only the lengths show it.
func.func @keys_beyond_the_end(%q: tensor<1x2x100x64xf16>) -> tensor<1x2x100x64xf16> {
  // expected-warning @below {{no query has a live key}}
  // expected-note @below {{the mask is 'keys<100, inf>', the alignment is end}}
  %o = attn.attention %q, %q, %q mask(keys<100, inf>)
      : (tensor<1x2x100x64xf16>, tensor<1x2x100x64xf16>, tensor<1x2x100x64xf16>) -> tensor<1x2x100x64xf16>
  return %o : tensor<1x2x100x64xf16>
}

// The same mask over more queries than keys: aligned at the start, the positions from 40 on see nothing; aligned at the end,
// the last queries have positions below 40.
func.func @start(%q: tensor<1x2x?x64xf16>, %k: tensor<1x2x40x64xf16>) -> tensor<1x2x?x64xf16> {
  // expected-warning @below {{no query has a live key}}
  // expected-note @below {{the mask is 'window<-40, inf>', the alignment is start}}
  %o = attn.attention %q, %k, %k mask(window<-40, inf>) align(start)
      : (tensor<1x2x?x64xf16>, tensor<1x2x40x64xf16>, tensor<1x2x40x64xf16>) -> tensor<1x2x?x64xf16>
  return %o : tensor<1x2x?x64xf16>
}

func.func @end(%q: tensor<1x2x?x64xf16>, %k: tensor<1x2x40x64xf16>) -> tensor<1x2x?x64xf16> {
  %o = attn.attention %q, %k, %k mask(window<-40, inf>)
      : (tensor<1x2x?x64xf16>, tensor<1x2x40x64xf16>, tensor<1x2x40x64xf16>) -> tensor<1x2x?x64xf16>
  return %o : tensor<1x2x?x64xf16>
}

func.func @one_row_is_live(%q: tensor<1x2x100x64xf16>) -> tensor<1x2x100x64xf16> {
  %o = attn.attention %q, %q, %q mask(causal & keys<99, inf> & heads<1, 2>)
      : (tensor<1x2x100x64xf16>, tensor<1x2x100x64xf16>, tensor<1x2x100x64xf16>) -> tensor<1x2x100x64xf16>
  return %o : tensor<1x2x100x64xf16>
}

// Without keys there is nothing to warn of.
func.func @no_keys(%q: tensor<1x2x100x64xf16>, %k: tensor<1x2x0x64xf16>) -> tensor<1x2x100x64xf16> {
  %o = attn.attention %q, %k, %k
      : (tensor<1x2x100x64xf16>, tensor<1x2x0x64xf16>, tensor<1x2x0x64xf16>) -> tensor<1x2x100x64xf16>
  return %o : tensor<1x2x100x64xf16>
}
