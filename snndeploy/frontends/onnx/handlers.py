"""One handler for each operator that is read, and what to use instead of those that are not."""

from __future__ import annotations

from collections.abc import Callable

from snndeploy.frontends.onnx import (
    activations,
    arithmetic,
    parts,
    pools,
    qlinear,
    quantizers,
    shapes,
    weights,
)
from snndeploy.frontends.onnx.builder import Builder, Result
from snndeploy.frontends.onnx.op import Op
from snndeploy.frontends.onnx.signal import Signal

Handler = Callable[[Builder, Op], Result | list[Signal]]

QUANTIZERS: dict[str, Handler] = {
    "QuantizeLinear": quantizers.quantize_linear,
    "DequantizeLinear": quantizers.dequantize_linear,
}

STANDARD: dict[str, Handler] = {
    **QUANTIZERS,
    "Conv": weights.conv,
    "Gemm": weights.gemm,
    "MatMul": weights.matmul,
    "BatchNormalization": weights.batch_norm,
    "MaxPool": pools.max_pool,
    "GlobalMaxPool": pools.global_max_pool,
    "AveragePool": pools.average_pool,
    "GlobalAveragePool": pools.global_average_pool,
    "ReduceMean": pools.reduce_mean,
    "ReduceSum": pools.reduce_sum,
    "ReduceMax": pools.reduce_max,
    "Add": arithmetic.add,
    "Sum": arithmetic.add,
    "Sub": arithmetic.subtract,
    "Mul": arithmetic.multiply,
    "Div": arithmetic.divide,
    "Neg": arithmetic.negate,
    "Concat": arithmetic.concat,
    "Relu": activations.relu,
    "LeakyRelu": activations.leaky_relu,
    "Clip": activations.clip,
    "Max": activations.maximum,
    "Min": activations.minimum,
    "Identity": shapes.identity,
    "Dropout": shapes.identity,
    "Cast": shapes.cast,
    "Shape": shapes.shape,
    "Transpose": shapes.transpose,
    "Reshape": shapes.reshape,
    "Flatten": shapes.flatten,
    "Squeeze": shapes.squeeze,
    "Unsqueeze": shapes.unsqueeze,
    "Pad": shapes.pad,
    "Slice": parts.cut,
    "Split": parts.split,
    "Gather": parts.gather,
    "QLinearConv": qlinear.qlinear_conv,
    "QLinearMatMul": qlinear.qlinear_matmul,
    "RequantShift": quantizers.requant_shift,
}

MICROSOFT: dict[str, Handler] = {
    **QUANTIZERS,
    "QLinearConv": qlinear.qlinear_conv,
    "QGemm": qlinear.qgemm,
    "QLinearAdd": qlinear.qlinear_add,
    "QLinearMul": qlinear.qlinear_mul,
    "QLinearAveragePool": qlinear.qlinear_average_pool,
    "QLinearGlobalAveragePool": qlinear.qlinear_global_average_pool,
    "QLinearConcat": qlinear.qlinear_concat,
}

QONNX: dict[str, Handler] = {
    "Quant": quantizers.quant,
    "IntQuant": quantizers.quant,
    "BipolarQuant": quantizers.bipolar_quant,
}

DOMAINS: dict[str, dict[str, Handler]] = {
    "": STANDARD,
    "ai.onnx": STANDARD,
    "com.microsoft": MICROSOFT,
    "PACTOps": {"RequantShift": quantizers.requant_shift},
    **dict.fromkeys(
        (
            "qonnx.custom_op.general",
            "finn.custom_op.general",
            "onnx.brevitas",
            "brevitas.onnx",
            "finn",
        ),
        QONNX,
    ),
}
"""By domain and type."""

SMOOTH = (
    "Sigmoid", "Tanh", "Elu", "Selu", "Celu", "Gelu", "PRelu", "HardSwish", "HardSigmoid",
    "Softplus", "Softsign", "Mish", "Swish", "ThresholdedRelu", "Erf", "FastGelu", "QuickGelu",
    "QLinearSigmoid", "QLinearLeakyRelu", "BiasGelu",
)  # fmt: skip

SOFTMAXES = ("Softmax", "LogSoftmax", "Hardmax")

NORMALIZATIONS = (
    "LayerNormalization", "InstanceNormalization", "GroupNormalization", "RMSNormalization",
    "LRN", "LpNormalization", "MeanVarianceNormalization", "SkipLayerNormalization",
)  # fmt: skip

KEEPS_SHAPE = {
    *SMOOTH, *SOFTMAXES, *NORMALIZATIONS, *QUANTIZERS, *QONNX, "BatchNormalization", "Relu",
    "LeakyRelu", "Clip", "Max", "Min", "Add", "Sum", "Sub", "Mul", "Div", "Neg", "Abs", "Exp",
    "Log", "Sqrt", "Pow", "Floor", "Ceil", "Round", "Sin", "Cos", "Identity", "Dropout", "Cast",
    "RequantShift", "Trunc", "MultiThreshold", "FloatQuant", "QLinearAdd", "QLinearMul",
}  # fmt: skip
"""What is behind them is checked as if they had been read."""

REMEDIES: dict[str, str] = {
    **dict.fromkeys(SMOOTH, "use Relu"),
    **dict.fromkeys(SOFTMAXES, "only at the model's end it can be left out"),
    **dict.fromkeys(
        NORMALIZATIONS, "its statistics are those of each sample: use BatchNormalization"
    ),
    **dict.fromkeys(("LSTM", "GRU", "RNN", "Scan", "Loop", "If"), "use a feed-forward network"),
    **dict.fromkeys(
        (
            "DynamicQuantizeLinear",
            "MatMulInteger",
            "ConvInteger",
            "DynamicQuantizeMatMul",
            "MatMulIntegerToFloat",
        ),
        "its scale is found anew for each sample: quantize statically, with calibration data",
    ),
    **dict.fromkeys(
        ("Attention", "MultiHeadAttention", "Einsum"), "products of values have no spiking form"
    ),
    **dict.fromkeys(
        ("Resize", "Upsample", "DepthToSpace", "SpaceToDepth", "Tile", "Expand"),
        "values are passed on as they are: use a Conv with fitting weights",
    ),
    "ConvTranspose": "use Conv, or Resize outside the model",
    "LpPool": "use AveragePool or MaxPool",
    "ArgMax": "only at the model's end it can be left out",
    "TopK": "end the model with its logits",
    "Trunc": "use a Quant with rounding_mode ROUND or FLOOR",
    "MultiThreshold": "export the model with Quant nodes, before FINN's transformations",
    "FloatQuant": "quantize to integers",
    "Pow": "products of values have no spiking form",
}
"""What to do instead, by the type of an operator that is not read."""
