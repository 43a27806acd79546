"""The part of TFLite's schema that we write: operators, their options tables and versions.

Source: the schema as ai-edge-litert ships it (schema_py_generated); the versions are those that
its interpreter accepts for the operand types that we write, and were run.
"""

from ai_edge_litert import schema_py_generated as schema

# Operator -> its options table ("" where it has none). Version 1 unless VERSIONS has it.
OPTIONS = {
    "ABS": "AbsOptions",
    "ADD": "AddOptions",
    "BATCH_MATMUL": "BatchMatMulOptions",
    "BROADCAST_TO": "BroadcastToOptions",
    "CAST": "CastOptions",
    "CONCATENATION": "ConcatenationOptions",
    "COS": "CosOptions",
    "DEQUANTIZE": "DequantizeOptions",
    "DIV": "DivOptions",
    "DYNAMIC_UPDATE_SLICE": "DynamicUpdateSliceOptions",
    "EMBEDDING_LOOKUP": "",
    "EQUAL": "EqualOptions",
    "EXP": "ExpOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "GATHER": "GatherOptions",
    "GELU": "GeluOptions",
    "GREATER": "GreaterOptions",
    "GREATER_EQUAL": "GreaterEqualOptions",
    "LESS": "LessOptions",
    "LESS_EQUAL": "LessEqualOptions",
    "LOG": "",
    "LOGICAL_AND": "LogicalAndOptions",
    "LOGICAL_NOT": "LogicalNotOptions",
    "LOGICAL_OR": "LogicalOrOptions",
    "LOGISTIC": "",
    "MAXIMUM": "MaximumMinimumOptions",
    "MEAN": "ReducerOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "MUL": "MulOptions",
    "NEG": "NegOptions",
    "NOT_EQUAL": "NotEqualOptions",
    "POW": "PowOptions",
    "RELU": "",
    "RESHAPE": "ReshapeOptions",
    "RSQRT": "",
    "SELECT_V2": "SelectV2Options",
    "SIN": "",
    "SLICE": "SliceOptions",
    "SOFTMAX": "SoftmaxOptions",
    "SQRT": "",
    "SUB": "SubOptions",
    "SUM": "ReducerOptions",
    "TANH": "",
    "TRANSPOSE": "TransposeOptions",
}

VERSIONS = {"BROADCAST_TO": 2, "DEQUANTIZE": 2, "EMBEDDING_LOOKUP": 3, "FULLY_CONNECTED": 5}

TENSOR_TYPES = {
    "bool": schema.TensorType.BOOL,
    "float16": schema.TensorType.FLOAT16,
    "float32": schema.TensorType.FLOAT32,
    "int32": schema.TensorType.INT32,
    "int8": schema.TensorType.INT8,
}


def builtin_code(operator: str) -> int:
    """The number of an operator, e.g. 9 for FULLY_CONNECTED."""
    return getattr(schema.BuiltinOperator, operator)
