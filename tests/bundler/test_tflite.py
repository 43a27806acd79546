from collections.abc import Sequence

import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st
from taskpress.bundler import BundleError
from taskpress.bundler.tflite import (
    ModelSummary,
    SignatureSummary,
    TensorSummary,
    WeightsSummary,
    summarize_model,
)

TYPE = schema.TensorType
EXTERNAL_BYTES = 1000
SAME = 3000


def tensor(name: str, kind: int, shape: Sequence[int], buffer: int = 0) -> schema.TensorT:
    made = schema.TensorT()
    made.name, made.type, made.shape, made.buffer = name.encode(), kind, list(shape), buffer
    return made


def quantized(made: schema.TensorT, scales: int, block: int = 0) -> schema.TensorT:
    made.quantization = schema.QuantizationParametersT()
    if block:
        details = schema.BlockwiseQuantizationT()
        details.blockSize = block
        made.quantization.detailsType = schema.QuantizationDetails.BlockwiseQuantization
        made.quantization.details = details
    else:
        made.quantization.scale = [1.0] * scales
    return made


def buffer(data: bytes = b"", offset: int = 0, size: int = 0) -> schema.BufferT:
    made = schema.BufferT()
    made.data = list(data) or None
    made.offset, made.size = offset, size
    return made


def signature(name: str, graph: int, inputs: dict[str, int], outputs: dict[str, int]) -> object:
    made = schema.SignatureDefT()
    made.signatureKey, made.subgraphIndex = name.encode(), graph
    made.inputs, made.outputs = [], []
    for names, entries in ((inputs, made.inputs), (outputs, made.outputs)):
        for key, number in names.items():
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = key.encode(), number
            entries.append(entry)
    return made


def graph(length: int) -> schema.SubGraphT:
    made = schema.SubGraphT()
    made.tensors = [
        tensor("ids", TYPE.INT32, [1, length]),
        tensor("cache", TYPE.FLOAT32, [1, 2, 8, 4]),
        quantized(tensor("head", TYPE.INT8, [10, 4], buffer=1), scales=10),
        quantized(tensor("up", TYPE.INT8, [4, 4], buffer=2), scales=1),
        quantized(tensor("down", TYPE.INT4, [4, 64], buffer=3), scales=0, block=32),
        tensor("norm", TYPE.FLOAT16, [4], buffer=4),
        tensor("logits", TYPE.FLOAT32, [1, length, 10]),
    ]
    made.operators = []
    for code in (0, 1, 1, 2):
        operator = schema.OperatorT()
        operator.opcodeIndex = code
        made.operators.append(operator)
    return made


def model(external_offset: int = 0, external_bytes: int = EXTERNAL_BYTES) -> bytes:
    """Two signatures that share weights, one of them behind the flatbuffer."""
    made = schema.ModelT()
    made.version = 3
    made.operatorCodes = []
    for number, custom in ((9, None), (150, None), (32, b"my.op")):
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
        code.customCode = custom
        made.operatorCodes.append(code)
    made.subgraphs = [graph(8), graph(1)]
    made.buffers = [
        buffer(),
        buffer(bytes(range(40))),
        buffer(bytes(16)),
        buffer(offset=external_offset or 1, size=external_bytes if external_offset else 1),
        buffer(bytes(8)),
    ]
    cache = {"kv_cache_k_10": 1, "kv_cache_k_2": 1}
    made.signatureDefs = [
        signature("prefill_8", 0, {"tokens": 0, **cache}, cache),
        signature("decode", 1, {"tokens": 0, **cache}, {"logits": 6, **cache}),
    ]
    builder = flatbuffers.Builder()
    builder.Finish(made.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def whole_model(missing: int = 0) -> bytes:
    # an offset of another size would change the flatbuffer's own; 0 is left out, so pack one first
    start = len(model(external_offset=1 << 20))
    return model(external_offset=start) + bytes(EXTERNAL_BYTES - missing)


def read(data: bytes) -> ModelSummary:
    return summarize_model(data, 0, len(data), "m.tflite")


def test_everything_is_read() -> None:
    data = whole_model()
    cache = [
        TensorSummary(name, "float32", (1, 2, 8, 4)) for name in ("kv_cache_k_2", "kv_cache_k_10")
    ]
    assert read(data) == ModelSummary(
        size_bytes=len(data),
        signatures=(
            SignatureSummary(
                "prefill_8", (*cache, TensorSummary("tokens", "int32", (1, 8))), tuple(cache)
            ),
            SignatureSummary(
                "decode",
                (*cache, TensorSummary("tokens", "int32", (1, 1))),
                (*cache, TensorSummary("logits", "float32", (1, 1, 10))),
            ),
        ),
        weights=(
            WeightsSummary("int4 in blocks of 32", 1, EXTERNAL_BYTES),
            WeightsSummary("int8 per channel", 1, 40),
            WeightsSummary("int8 per tensor", 1, 16),
            WeightsSummary("float16", 1, 8),
        ),
        operators={"FULLY_CONNECTED": 2, "GELU": 4, "my.op": 2},
        cache_bytes=2 * 64 * 4,
    )


def test_a_model_inside_a_file() -> None:
    data = whole_model()
    assert summarize_model(b"???" + data + b"!!!", 3, len(data), "x.task") == read(data)


def test_int4_takes_half_a_byte_and_strings_none() -> None:
    assert TensorSummary("x", "int4", (3, 3)).size_bytes() == 5
    assert TensorSummary("x", "string", (3, 3)).size_bytes() == 0
    assert TensorSummary("x", "float32", (-1, 3)).size_bytes() == 0


def changed(old: bytes, new: bytes) -> bytes:
    data = whole_model()
    assert old in data
    return data.replace(old, new)


DAMAGED = {
    "nothing": (b"", "4 bytes at byte 4 are past its 0 bytes"),
    "another kind": (b"\0\0\0\0TFL2" + bytes(50), "bytes 4 to 7 are b'TFL2'; b'TFL3' is needed"),
    "root outside": (b"\xff\xff\xff\xffTFL3", "4 bytes at byte 4294967295 are past its 8 bytes"),
    "no weights": (whole_model(missing=1), r"weights at bytes \d+ to \d+, and ends at byte \d+"),
    "half": (whole_model()[:200], "are past its 200 bytes"),
    "a name that is long": (
        changed(b"\x06\0\0\0decode", b"\xff\xff\1\0decode"),
        "has a text of 131071 bytes",
    ),
}


@pytest.mark.parametrize(("data", "message"), DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_models(data: bytes, message: str) -> None:
    with pytest.raises(BundleError, match=f"^m.tflite: .*{message}.*or damaged or cut off$"):
        read(data)


def test_numbers_that_point_nowhere() -> None:
    for change, message in (
        ((1, 99, 0, 0), "decode: is of subgraph 99, there are 2"),
        ((1, 1, 99, 0), "decode: is of tensor 99, of 7"),
        ((1, 1, 0, 99), "has a tensor in buffer 99, there are 5"),
        ((9, 1, 0, 0), "has an operator of code 9, there are 3"),
    ):
        with pytest.raises(BundleError, match=f"^m.tflite: {message}"):
            read(pointing(*change))


def pointing(operator: int, subgraph: int, number: int, weights: int) -> bytes:
    made = schema.ModelT.InitFromObj(schema.Model.GetRootAs(whole_model()))
    made.signatureDefs[1].subgraphIndex = subgraph
    made.signatureDefs[1].inputs[0].tensorIndex = number
    made.subgraphs[0].tensors[0].buffer = weights
    made.subgraphs[0].operators[0].opcodeIndex = operator
    made.buffers[3].offset = made.buffers[3].size = 0
    builder = flatbuffers.Builder()
    builder.Finish(made.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def test_vectors_of_vectors_of_the_same_bytes_end() -> None:
    # 3,000 graphs of 3,000 tensors, which are one graph and one tensor in the flatbuffer
    builder = flatbuffers.Builder(1 << 20)
    tensors = [each.Pack(builder) for each in graph(1).tensors[:1]] * SAME
    builder.StartVector(4, len(tensors), 4)
    for each in tensors:
        builder.PrependUOffsetTRelative(each)
    vector = builder.EndVector()
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, vector)
    one = schema.SubGraphEnd(builder)
    builder.StartVector(4, SAME, 4)
    for _ in range(SAME):
        builder.PrependUOffsetTRelative(one)
    graphs = builder.EndVector()
    schema.ModelStart(builder)
    schema.ModelAddSubgraphs(builder, graphs)
    builder.Finish(schema.ModelEnd(builder), file_identifier=b"TFL3")
    with pytest.raises(BundleError, match="takes more than 2000000 steps to read"):
        read(bytes(builder.Output()))


WHOLE = whole_model()


@settings(max_examples=400)
@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, 2000),
)
def test_mutated_models_give_a_result_or_one_error(
    changes: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(WHOLE)
    for at, value in changes:
        data[at % len(data)] = value
    try:
        found = read(bytes(data[: len(data) - max(0, cut - 1000)]))
    except BundleError as error:
        found = str(error).startswith("m.tflite: ")
    assert found
