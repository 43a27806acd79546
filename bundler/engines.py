"""What each runtime takes: kinds of files, names and types of tensors, versions of operators.

Sources: names of tensors, LiteRT-LM's litert_compiled_model_executor_utils.cc; types, runs of
litert-lm-api 0.18.1, and for MediaPipe its last open engine (v0.10.21). MediaPipe's Android engine
is closed: what it takes beyond that is not known. Versions of operators: see each table.
"""

from collections.abc import Mapping
from dataclasses import dataclass

TOKENS = ("tokens", "token_ids")
EMBEDDINGS = ("embeddings", "per_layer_embeddings")
POSITIONS = ("input_pos", "positions")
MASKS = ("mask", "attn_mask", "local_mask", "attn_mask_local", "local_attn_mask")
OTHERS = ("param_tensor",)
CACHES = ("kv_cache_k_", "kv_cache_v_", "k_cache_", "v_cache_", "kv_cache_c_")
LORA = ("lora_atten_", "query_w_prime_", "key_w_prime_", "value_w_prime_", "post_w_prime_")
LOGITS = "logits"
# Custom operators: those that the engines bring along (found in 0.18.1's library), and LiteRT's own
ENGINE_OPERATORS = ("odml.update_kv_cache", "odml.update_external_kv_cache", "odml.cache_update")
LITERT_OPERATORS = ("NumericVerify", "Mfcc", "AudioSpectrogram", "aeq.hadamard_rotation")
MASK_TYPES = ("bool", "float16", "float32")


def _by_name(by_version: Mapping[int, str]) -> dict[str, int]:
    return {name: version for version, names in by_version.items() for name in names.split()}


# The newest version of each operator, as LiteRT 2.3.0 (ai-edge-litert) answers for each; 1 for the
# rest. Operators that are in neither are unknown to it. A test asks it again.
_NEWEST = _by_name(
    {
        1: (
            "FLOOR HASHTABLE_LOOKUP L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LSH_PROJECTION "
            "RELU_N1_TO_1 RESHAPE SKIP_GRAM EMBEDDING_LOOKUP_SPARSE PRELU NEG EXPAND_DIMS "
            "SHAPE POW LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT REDUCE_ANY SQUARE "
            "ZEROS_LIKE UNIQUE CEIL ADD_N RANK ELU REVERSE_SEQUENCE MATRIX_DIAG "
            "MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE NON_MAX_SUPPRESSION_V4 "
            "NON_MAX_SUPPRESSION_V5 SCATTER_ND DENSIFY SEGMENT_SUM CUMSUM CALL_ONCE RFFT2D "
            "CONV_3D IMAG REAL COMPLEX_ABS HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT "
            "HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE "
            "ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM "
            "MULTINOMIAL RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX "
            "UNSORTED_SEGMENT_SUM ATAN2 UNSORTED_SEGMENT_MIN BITCAST BITWISE_XOR RIGHT_SHIFT "
            "STABLEHLO_ADD STABLEHLO_MULTIPLY STABLEHLO_MAXIMUM STABLEHLO_AND "
            "STABLEHLO_MINIMUM STABLEHLO_SCATTER STABLEHLO_PAD STABLEHLO_REDUCE_WINDOW "
            "STABLEHLO_GATHER DILATE STABLEHLO_RNG_BIT_GENERATOR REDUCE_WINDOW "
            "STABLEHLO_COMPOSITE STABLEHLO_SHIFT_LEFT STABLEHLO_CASE"
        ),
        2: (
            "DEPTH_TO_SPACE L2_NORMALIZATION SPACE_TO_DEPTH DIV SQUEEZE EXP LOG_SOFTMAX "
            "GREATER LESS_EQUAL SIN LOG SUM SQRT FAKE_QUANT REDUCE_PROD FLOOR_MOD RANGE "
            "LEAKY_RELU SQUARED_DIFFERENCE COS WHERE SELECT_V2 SIGN"
        ),
        3: (
            "AVERAGE_POOL_2D LOGISTIC MAX_POOL_2D RELU RELU6 RNN TANH "
            "UNIDIRECTIONAL_SEQUENCE_RNN MEAN BIDIRECTIONAL_SEQUENCE_RNN TOPK_V2 "
            "BIDIRECTIONAL_SEQUENCE_LSTM ARG_MAX LESS GREATER_EQUAL SPARSE_TO_DENSE TILE "
            "RSQRT ARG_MIN REDUCE_MAX REDUCE_MIN FLOOR_DIV MIRROR_PAD SPLIT_V GELU"
        ),
        4: (
            "LSTM RESIZE_BILINEAR SOFTMAX SVDF BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND "
            "UNIDIRECTIONAL_SEQUENCE_LSTM MAXIMUM MINIMUM SELECT NOT_EQUAL "
            "RESIZE_NEAREST_NEIGHBOR REVERSE_V2 BATCH_MATMUL BROADCAST_TO"
        ),
        5: ("EMBEDDING_LOOKUP SUB SPLIT TRANSPOSE_CONV EQUAL PACK FILL ABS"),
        6: ("ADD PAD PADV2 UNPACK GATHER_ND QUANTIZE DYNAMIC_UPDATE_SLICE"),
        7: ("CONCATENATION DEPTHWISE_CONV_2D"),
        8: ("CONV_2D MUL GATHER STRIDED_SLICE SLICE"),
        9: ("DEQUANTIZE TRANSPOSE CAST"),
        14: ("FULLY_CONNECTED"),
    }
)

# The same in TensorFlow's register.cc of spring 2024 (0314b97f), where it is less: about what the
# first Android engines had that open a .task.
_EARLIER = _by_name(
    {
        0: (
            "STABLEHLO_ADD STABLEHLO_MULTIPLY STABLEHLO_MAXIMUM STABLEHLO_AND "
            "STABLEHLO_MINIMUM STABLEHLO_PAD STABLEHLO_REDUCE_WINDOW STABLEHLO_GATHER DILATE "
            "STABLEHLO_RNG_BIT_GENERATOR REDUCE_WINDOW STABLEHLO_COMPOSITE "
            "STABLEHLO_SHIFT_LEFT STABLEHLO_CASE"
        ),
        1: ("SQRT SIN COS DYNAMIC_UPDATE_SLICE"),
        2: ("RSQRT SPLIT_V GELU"),
        3: ("EMBEDDING_LOOKUP NOT_EQUAL REVERSE_V2 QUANTIZE SOFTMAX BROADCAST_TO"),
        4: ("CONCATENATION PAD PADV2 SPLIT TRANSPOSE_CONV EQUAL PACK UNPACK FILL GATHER_ND"),
        5: ("ADD DEQUANTIZE CAST"),
        6: ("GATHER TRANSPOSE SLICE"),
        7: ("CONV_2D MUL"),
        10: ("FULLY_CONNECTED"),
    }
)


@dataclass(frozen=True)
class Runtime:
    """kinds: of files that it opens. logits: types of them that it reads. operators: name -> the
    newest version that any release knows. early_operators: those of which the first knew less.
    """

    name: str
    kinds: tuple[str, ...]
    logits: tuple[str, ...]
    operators: Mapping[str, int]
    early_operators: Mapping[str, int]


MEDIAPIPE = Runtime("mediapipe-0.10.x", ("task", "tflite"), ("float32",), _NEWEST, _EARLIER)
LITERT_LM = Runtime(
    "litert-lm-0.18", ("task", "litertlm", "tflite"), ("float32", "float16"), _NEWEST, {}
)
RUNTIMES = {runtime.name: runtime for runtime in (MEDIAPIPE, LITERT_LM)}


def default_runtime(kind: str) -> Runtime:
    """Of a file of this kind: MediaPipe for a .task, as it is the one that needs it."""
    return MEDIAPIPE if kind == "task" else LITERT_LM
