"""One handler for each ATen operator that can become a node of a float `Network`.

A handler `f(builder, fx, *arguments)` takes the operator's own arguments, adds what it stands for
to the builder, and raises `Unsupported` where an argument has no spiking form. A signal (N, C, W)
is an image of height one: operators on signals become those on images, kernels of height one.
"""

from __future__ import annotations

from collections.abc import Callable

from snndeploy.frontends.aten import arithmetic, pools, quantizers, shapes, weights

REMEDIES = {
    "sigmoid": "use snndeploy.training.QCFS",
    "tanh": "use snndeploy.training.QCFS",
    "gelu": "use snndeploy.training.QCFS",
    "silu": "use snndeploy.training.QCFS",
    "softmax": "leave it out: the largest logit stays the largest",
    "log_softmax": "leave it out: the largest logit stays the largest",
    "mul": "only quantized activations, sums and fixed weights can be spiking",
    "stack": "use torch.cat along the channels",
}
"""What to do instead, by the name of an operator that has no handler."""

HANDLERS: dict[str, Callable[..., None]] = {
    "aten.conv1d.default": weights.conv,
    "aten.conv1d.padding": weights.conv,
    "aten.conv2d.default": weights.conv,
    "aten.conv2d.padding": weights.conv,
    "aten.linear.default": weights.linear,
    "aten.batch_norm.default": weights.batch_norm,
    "aten.max_pool1d.default": pools.max_pool,
    "aten.max_pool2d.default": pools.max_pool,
    "aten.avg_pool1d.default": pools.avg_pool,
    "aten.avg_pool2d.default": pools.avg_pool,
    "aten.adaptive_avg_pool1d.default": pools.adaptive_avg_pool,
    "aten.adaptive_avg_pool2d.default": pools.adaptive_avg_pool,
    "aten.mean.dim": pools.mean,
    "aten.add.Tensor": arithmetic.add,
    "aten.add_.Tensor": arithmetic.add_in_place,
    "aten.pad.default": shapes.pad,
    "aten.constant_pad_nd.default": lambda b, fx, x, amounts, value=0: shapes.pad(
        b, fx, x, amounts, "constant", value
    ),
    "aten.relu.default": arithmetic.relu,
    "aten.relu_.default": arithmetic.relu,
    "aten.relu6.default": arithmetic.relu6,
    "aten.relu6_.default": arithmetic.relu6,
    "aten.hardtanh.default": arithmetic.hardtanh,
    "aten.hardtanh_.default": arithmetic.hardtanh,
    "aten.clamp.default": arithmetic.clamp,
    "aten.clamp_.default": arithmetic.clamp,
    "aten.clip.default": arithmetic.clamp,
    "aten.clip_.default": arithmetic.clamp,
    "aten.clamp_min.default": arithmetic.clamp,
    "aten.clamp_min_.default": arithmetic.clamp,
    "aten.cat.default": arithmetic.cat,
    "aten.concat.default": arithmetic.cat,
    "aten.concatenate.default": arithmetic.cat,
    "aten.hstack.default": arithmetic.hstack,
    "aten.flatten.using_ints": shapes.reshape,
    "aten.view.default": shapes.reshape,
    "aten.reshape.default": shapes.reshape,
    "aten.squeeze.default": shapes.reshape,
    "aten.squeeze.dim": shapes.reshape,
    "aten.squeeze.dims": shapes.reshape,
    "aten.unsqueeze.default": shapes.reshape,
    "aten.dropout.default": shapes.identity,
    "aten.feature_dropout.default": shapes.identity,
    "aten.contiguous.default": shapes.identity,
    "aten.clone.default": shapes.identity,
    "aten.alias.default": shapes.identity,
    "aten.sym_size.int": shapes.size,
    "aten.fake_quantize_per_tensor_affine.default": quantizers.fake_quantize,
    "aten.fake_quantize_per_tensor_affine.tensor_qparams": quantizers.fake_quantize,
    "aten.fake_quantize_per_channel_affine.default": quantizers.fake_quantize_per_channel,
    "quantized_decomposed.quantize_per_tensor.default": quantizers.quantize_per_tensor,
    "quantized_decomposed.quantize_per_tensor.tensor": quantizers.quantize_per_tensor,
    "quantized_decomposed.quantize_per_tensor.tensor2": quantizers.quantize_per_tensor,
    "quantized_decomposed.dequantize_per_tensor.default": quantizers.dequantize_per_tensor,
    "quantized_decomposed.dequantize_per_tensor.tensor": quantizers.dequantize_per_tensor,
    "quantized_decomposed.dequantize_per_tensor.tensor2": quantizers.dequantize_per_tensor,
    "quantized_decomposed.quantize_per_channel.default": quantizers.quantize_per_channel,
    "quantized_decomposed.dequantize_per_channel.default": quantizers.dequantize_per_channel,
    "snndeploy.qcfs.default": quantizers.qcfs,
    "snndeploy.quantize_input.default": quantizers.quantize_input,
}
"""Handlers by the operator's full name."""
