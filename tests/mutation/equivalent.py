"""Mutants that are no mistakes: the change makes no difference to what the VJP computes."""

from __future__ import annotations

from mutants import Mutant

__all__ = ["EQUIVALENT", "is_equivalent"]

BY_ENGINE = "the engine sums over broadcast dimensions anyway"
SYMMETRIC = "the two are compared for equality"
TIMES_ZERO = "what is chosen here is multiplied by zero"
FAR = "so far out the second derivative is zero"

PRODUCT = "it does not matter which factor comes first"

FACTORS = (("mul", "other"), ("mul", "input"), ("exp", "output"))
KEPT = "_keep(output, shape, dims)"
SHARES = "_spread(g, shape, dims) * _shares({}, {}, dims)"
LOWERED = "lowered = where(_zero_to_the_zero({}), {}, exponent - 1)"
LOGARITHM = "g * output * log(where(_power_of_zero(input, exponent), ones_like({}), input))"
NORM_SCALE = "scale = where(zero, 0, g * where(zero, {}, output) ** (1 - p))"
SCALE = "scale = g / where(eq(output, 0), {}, output)"
BEND = "where(gt(input, 0), 0, g * (parameters['alpha'] * parameters['scale'] * exp(clamp(input, None, {}))))"
IN_SHAPES = "(by_input.reshape({}.shape), by_weight.reshape(weight.shape), by_bias.reshape(weight.shape))"
DIVISION = "if isinstance({}, np.ndarray) and _is_normal(output):"
DEVIATIONS = (
    "_spread(scale / freedom if freedom else scale {} math.nan, input.shape, dims) * (input - _mean(input, dims, True))"
)

# (primitive, mistake): why nothing changes.
EQUIVALENT: dict[tuple[str, str], str] = {
    (name, f"{before}  ->  {after}"): why
    for name, before, after, why in [
        ("_expand", "sum_to_size(g, input_shape)", "g", BY_ENGINE),
        ("_linear", "sum(g, 0)", "g", BY_ENGINE),
        *((name, f"_times(g, {x})", f"_times({x}, g)", PRODUCT) for name, x in FACTORS),
        ("sqrt", "div(g, mul(output, 2))", "div(g, mul(2, output))", PRODUCT),
        ("div", "div(mul(neg(g), output), other)", "div(mul(output, neg(g)), other)", PRODUCT),
        ("_amax", SHARES.format("input", KEPT), SHARES.format(KEPT, "input"), SYMMETRIC),
        ("_amin", SHARES.format("input", KEPT), SHARES.format(KEPT, "input"), SYMMETRIC),
        ("pow", LOWERED.format("input, exponent", 0), LOWERED.format("exponent, input", 0), SYMMETRIC),
        ("pow", LOWERED.format("input, exponent", 0), LOWERED.format("input, exponent", 1), TIMES_ZERO),
        (
            "pow",
            "if isinstance(exponent, (int, float)):",
            "if isinstance(g, (int, float)):",
            "the formula for tensors serves numbers too, just more slowly",
        ),
        ("pow", LOGARITHM.format("output"), LOGARITHM.format("g"), "they have the same shape"),
        ("_elu_slope", BEND.format(0), BEND.format(1), "what changes is not chosen"),
        ("_gelu_slope", "x = clamp(input, -40, 40)", "x = clamp(input, -40, 41)", FAR),
        ("_gelu_slope", "x = clamp(input, -40, 40)", "x = clamp(input, -41, 40)", FAR),
        ("_gelu_tanh_slope", "x = clamp(input, -10, 10)", "x = clamp(input, -10, 11)", FAR),
        ("_gelu_tanh_slope", "x = clamp(input, -10, 10)", "x = clamp(input, -11, 10)", FAR),
        ("_std", SCALE.format(1), SCALE.format(2), TIMES_ZERO),
        ("_norm", NORM_SCALE.format(1), NORM_SCALE.format(2), "where it is chosen the other choice follows"),
        ("_standardize", IN_SHAPES.format("input"), IN_SHAPES.format("g"), "they have the same shape"),
        ("_prod", DIVISION.format("output"), DIVISION.format("g"), "in a recorded pass both are tensors"),
        ("_std", DEVIATIONS.format("*"), DEVIATIONS.format("/"), "anything and NaN make NaN"),
    ]
}
# The same for mistakes that do matter in another VJP of the primitive.
EQUIVALENT_IN_ONE: dict[str, str] = {}


def is_equivalent(mutant: Mutant) -> bool:
    """Whether the mutant is known to compute the same."""
    return (mutant.primitive.name, mutant.mistake) in EQUIVALENT or str(mutant) in EQUIVALENT_IN_ONE
