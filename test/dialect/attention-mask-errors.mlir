// RUN: attn-opt %s -split-input-file -verify-diagnostics

// One mask or more for every constraint of docs/Spec.md on masks, named after it, in the clause and in the attribute.

func.func @M1_unknown(%q: tensor<1x1x?x16xf16>) {
  // expected-error @below {{unknown mask 'casual'; did you mean 'causal'? (M1)}}
  %o = attn.attention %q, %q, %q mask(casual)
      : (tensor<1x1x?x16xf16>, tensor<1x1x?x16xf16>, tensor<1x1x?x16xf16>) -> tensor<1x1x?x16xf16>
  return
}

// -----

func.func @M1_missing_operand(%q: tensor<1x1x?x16xf16>) {
  // expected-error @below {{expected a mask (M1)}}
  %o = attn.attention %q, %q, %q mask(causal & )
      : (tensor<1x1x?x16xf16>, tensor<1x1x?x16xf16>, tensor<1x1x?x16xf16>) -> tensor<1x1x?x16xf16>
  return
}

// -----

func.func @M1_number_of_parameters(%q: tensor<1x1x?x16xf16>) {
  // expected-error @below {{expected ',' in 'window', which takes 2 parameters (M1)}}
  %o = attn.attention %q, %q, %q mask(window<3>)
      : (tensor<1x1x?x16xf16>, tensor<1x1x?x16xf16>, tensor<1x1x?x16xf16>) -> tensor<1x1x?x16xf16>
  return
}

// -----

func.func @M1_not_an_integer(%q: tensor<1x1x?x16xf16>) {
  // expected-error @below {{expected an integer, 'inf' or a symbol that fits in 64 bits, found '99999999999999999999' (M1)}}
  %o = attn.attention %q, %q, %q mask(window<99999999999999999999, 0>)
      : (tensor<1x1x?x16xf16>, tensor<1x1x?x16xf16>, tensor<1x1x?x16xf16>) -> tensor<1x1x?x16xf16>
  return
}

// -----

// expected-error @below {{expected '&', '|' or the end of the mask (M1)}}
func.func private @M1_attribute() attributes {m = #attn.mask<causal causal>}

// -----

// expected-error @below {{parameter 1 of 'global' must be finite (M2)}}
func.func private @M2_infinite() attributes {m = #attn.mask<global<inf>>}

// -----

// expected-error @below {{parameter 1 of 'stride' must be a constant: a modulus that is a run-time value has no integer set (M3)}}
func.func private @M3_modulus() attributes {m = #attn.mask<stride<s0>>}

// -----

func.func @M3_modulus_in_the_clause(%q: tensor<1x1x?x16xf16>, %n: index) {
  // expected-error @below {{parameter 3 of 'dilated' must be a constant: a modulus that is a run-time value has no integer set (M3)}}
  %o = attn.attention %q, %q, %q mask(dilated<4, 4, %n>)
      : (tensor<1x1x?x16xf16>, tensor<1x1x?x16xf16>, tensor<1x1x?x16xf16>) -> tensor<1x1x?x16xf16>
  return
}

// -----

// expected-error @below {{parameter 1099511627777 of 'window' is beyond +-2^40 (M4)}}
func.func private @M4_parameter() attributes {m = #attn.mask<window<1099511627777, 0>>}

// -----

// expected-error @below {{constant -1099511627777 of the set is beyond +-2^40 (M4)}}
func.func private @M4_constant() attributes {m = #attn.mask<affine_set<"(h, i, j) : (i - 1099511627777 >= 0)">>}

// -----

// expected-error @below {{the step of 'dilated' must be at least 1, found 0 (M5)}}
func.func private @M5_step() attributes {m = #attn.mask<dilated<4, 4, 0>>}

// -----

// expected-error @below {{the stride of 'stride' must be at least 1, found -3 (M5)}}
func.func private @M5_stride() attributes {m = #attn.mask<stride<-3>>}

// -----

// expected-error @below {{the block length of 'same_block' must be at least 1, found 0 (M5)}}
func.func private @M5_block() attributes {m = #attn.mask<same_block<0>>}

// -----

// expected-error @below {{a divisor in the set must be at least 1, found 0 (M5)}}
func.func private @M5_divisor() attributes {m = #attn.mask<affine_set<"(h, i, j) : (i mod 0 == 0)">>}

// -----

// expected-error @below {{the number of tokens of 'global' must be at least 0, found -1 (M6)}}
func.func private @M6_tokens() attributes {m = #attn.mask<global<-1>>}

// -----

// expected-error @below {{the summary length 9 of 'summary' exceeds the block length 8 (M6)}}
func.func private @M6_summary() attributes {m = #attn.mask<summary<8, 9>>}

// -----

// expected-error @below {{the range of 'keys' is reversed: 5 > 4 (M7)}}
func.func private @M7_range() attributes {m = #attn.mask<keys<5, 4>>}

// -----

// expected-error @below {{expected a set of three dimensions (head, query position, key position), found 2 (M8)}}
func.func private @M8_dimensions() attributes {m = #attn.mask<affine_set<"(i, j) : (i - j >= 0)">>}

// -----

func.func @M8_malformed(%q: tensor<1x1x?x16xf16>) {
  %o = attn.attention %q, %q, %q mask(causal &
      // expected-error @below {{malformed set: use of undeclared identifier (M8)}}
      affine_set<(h, i, j) : (i - k >= 0)>)
      : (tensor<1x1x?x16xf16>, tensor<1x1x?x16xf16>, tensor<1x1x?x16xf16>) -> tensor<1x1x?x16xf16>
  return
}

// -----

// expected-error @below {{the set has a constraint that is not affine: a factor or divisor that is not a constant (M8)}}
func.func private @M8_symbolic_factor() attributes {m = #attn.mask<affine_set<"(h, i, j)[n] : (i * n - j >= 0)">(s0)>}

// -----

func.func @M9_number_of_values(%q: tensor<1x1x?x16xf16>) {
  // expected-error @below {{the set has 1 symbols, but 0 values are given after it (M9)}}
  %o = attn.attention %q, %q, %q mask(affine_set<(h, i, j)[n] : (i - n >= 0)>)
      : (tensor<1x1x?x16xf16>, tensor<1x1x?x16xf16>, tensor<1x1x?x16xf16>) -> tensor<1x1x?x16xf16>
  return
}

// -----

// expected-error @below {{a set's symbol must be finite (M9)}}
func.func private @M9_infinite() attributes {m = #attn.mask<affine_set<"(h, i, j)[n] : (i - n >= 0)">(inf)>}

// -----

// expected-error @below {{a mask has at most 64 symbols (M10)}}
func.func private @M10_symbols() attributes {m = #attn.mask<window<s64, 0>>}

// -----

// expected-error @below {{mask is nested deeper than 64 levels (M10)}}
func.func private @M10_depth() attributes {m = #attn.mask<!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!causal>}
