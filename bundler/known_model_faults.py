"""What is known of faults in a bundle's model, by the codes of their findings: see known_faults."""

from collections.abc import Mapping

from .findings import ERROR, NOTE, WARNING, Known

_CONVERT = "convert it with taskpress convert"
_KEYS = (
    "RET_CHECK failure (external/odml/odml/infra/genai/inference/utils/tflite_utils/"
    "tflite_llm_utils.cc:59) std::find_if(signature_keys.begin(), signature_keys.end(), "
    "[&](const std::string* key) { return *key == required_key; }) != signature_keys.end() "
    "(mediapipe #5724)"
)
_UNSUPPORTED = "Unsupported model signature. (MediaPipe's LiteRTResourceCalculator)"

MODEL_KNOWN: Mapping[str, Known] = {
    "model.damaged": Known(
        ERROR,
        "the model is no TFLite flatbuffer, or its weights are not all there",
        "get the file anew and compare its size, or convert it anew",
        (
            "flatbuffer model has invalid external buffer range: ",
            "Model provided must have at least 7 bytes to hold identifier.",
            "Failed to load model from buffer",
            "Invalid flatbuffer",
        ),
    ),
    "model.no_decode": Known(
        ERROR,
        "the engine calls the signature decode for each token of an answer",
        _CONVERT,
        ("Signature not found: decode", _KEYS, _UNSUPPORTED),
    ),
    "model.no_prefill": Known(
        ERROR,
        "the engine reads the prompt with signatures whose names begin with prefill",
        _CONVERT,
        (
            "Selected signatures must include decode and an available prefill.",
            'Could not detect a prefill signature (e.g. "prefill_128") in the transformer model.',
            _KEYS,
            _UNSUPPORTED,
        ),
    ),
    "model.encoder": Known(
        ERROR,
        "the bundle's engines run a model that continues a text, not one that encodes it",
        "run it with LiteRT itself",
        (_UNSUPPORTED,),
    ),
    "model.no_tokens": Known(
        ERROR,
        "the engine looks for an input tokens or token_ids, or for embeddings",
        f"{_CONVERT}, or rename the signature's input",
        ("Input tokens or embeddings not found.",),
    ),
    "model.no_positions": Known(
        ERROR,
        "the engine looks for an input input_pos or positions, and tells a prefill's length by it",
        f"{_CONVERT}, or rename the signature's input",
        ("Input tensor not found", "Input positions not found."),
    ),
    "model.no_logits": Known(
        ERROR,
        "the engine looks for an output logits of decode",
        f"{_CONVERT}, or rename the signature's output",
        ("Output logits not found.",),
    ),
    "model.tokens_type": Known(
        ERROR,
        "engines write ids and positions as 32-bit integers, whatever the model says: it would "
        "read others",
        _CONVERT,
    ),
    "model.logits_type": Known(
        ERROR,
        "the engine reads the logits as float32; LiteRT-LM 0.18 also reads float16",
        f"{_CONVERT}, or cast them in the model",
    ),
    "model.logits_shape": Known(
        ERROR,
        "the engine takes the logits' last dimension for the vocabulary, of three",
        _CONVERT,
        (
            "Output logits must be (batch, seq, vocab)",
            "Only support logits with dimensions [batch_size, 1, vocab_size].",
        ),
    ),
    "model.no_cache": Known(
        ERROR,
        "the engine keeps the text in the caches, whose names begin with kv_cache_k_ and "
        "kv_cache_v_, or k_cache_ and v_cache_",
        f"{_CONVERT}, or rename the signatures' inputs and outputs",
        ("No KV cache inputs found.",),
    ),
    "model.cache_outputs": Known(
        ERROR,
        "the engine hands each output of a cache to the next call: what decode does not give back "
        "it forgets",
        _CONVERT,
    ),
    "model.cache_shape": Known(
        ERROR,
        "all signatures work on the same caches",
        "convert it anew, with one context length",
        ("Failed to register input tensor buffer: ", "Failed to run decode: INTERNAL: "),
    ),
    "model.mask_shape": Known(
        ERROR,
        "the engine writes a mask of [1, 1, tokens, context length], of bool, float16 or float32",
        _CONVERT,
        (
            "Attention mask must be 4D.",
            "state.cc:526] RET_CHECK failure dims.size() == 4 (3 vs. 4)",
        ),
    ),
    "model.input_unknown": Known(
        WARNING,
        "no engine fills an input of this name: the model reads what happens to be there",
        _CONVERT,
    ),
    "model.prefill_length": Known(
        WARNING,
        "a phone picks a prefill by its length; one that is named otherwise may be read wrong",
        "rename the signature",
    ),
    "model.signature_twice": Known(
        ERROR,
        "engines find a signature by its name, and take one of the two",
        _CONVERT,
    ),
    "model.prefill_larger": Known(
        WARNING,
        "a chunk of that length never fits into the cache",
        "convert it with shorter --prefill-lengths",
    ),
    "operator.unknown": Known(
        ERROR,
        "this runtime has no such operator",
        _CONVERT,
        ("Op builtin_code out of range: ", "Didn't find op for builtin opcode '"),
    ),
    "operator.version": Known(
        ERROR,
        "this runtime knows older versions of the operator alone",
        f"{_CONVERT}, which writes the oldest version that will do, or use a newer runtime",
        (
            "Didn't find op for builtin opcode 'FULLY_CONNECTED' version '",
            "An older version of this builtin might be supported. Are you using an old TFLite "
            "binary with a newer model?",
            "Registration failed.",
        ),
    ),
    "operator.custom": Known(
        ERROR,
        "a phone's engine has none but its own custom operators",
        f"{_CONVERT}, which writes none",
        ("Encountered unresolved custom op: ", "failed to prepare.", "Failed to allocate tensors"),
    ),
    "weights.off_delegate": Known(
        WARNING,
        "XNNPACK does not take this form, so that LiteRT's own kernels compute it: several times "
        "slower, and a copy of the activations at each border",
        "quantize with a scale a row (taskpress convert --quantize int8), or in blocks of 32 or "
        "a multiple of it",
    ),
    "weights.zero_point": Known(
        ERROR,
        "XNNPACK takes int8 and int4 weights around zero alone, and fails instead of leaving it "
        "to others",
        "quantize symmetrically: taskpress convert --quantize int8",
        (
            "unsupported zero-point value (",
            "failed to update filter tensor FULLY_CONNECTED node",
            "failed to create XNNPACK Value for tensor",
            "(TfLiteXNNPackDelegate) failed to prepare.",
        ),
    ),
    "weights.type": Known(
        ERROR,
        "FULLY_CONNECTED computes with float32, int8 or int4 weights where its input is float32",
        "put a DEQUANTIZE before it, as taskpress convert --quantize fp16 does",
        (
            "tensorflow/lite/kernels/fully_connected.cc:303 filter->type != kTfLiteFloat32 "
            "(FLOAT16 != FLOAT32)",
            "(FULLY_CONNECTED) failed to prepare.",
        ),
    ),
    "memory.needed": Known(
        NOTE,
        "a system that has less free ends the app without a word",
        "quantize, or convert with a shorter --context-length",
    ),
    "memory.large": Known(
        WARNING,
        "few phones have that much for one app",
        "quantize, or convert with a shorter --context-length",
    ),
    "trial.skipped": Known(
        NOTE,
        "that the model runs at all was not seen",
        "mend the errors first, or try it on a larger machine",
    ),
    "trial.refused": Known(
        ERROR,
        "LiteRT itself cannot run the model on this machine's CPU",
        _CONVERT,
        ("Failed to allocate tensors", "failed to prepare.", "Failed to invoke the compiled model"),
    ),
    "trial.crashed": Known(
        ERROR,
        "the process that ran the model was ended by the system: an app would be, too",
        "do not ship the file; convert it anew",
    ),
    "trial.hung": Known(
        ERROR,
        "one prefill and a few decode steps took too long for any phone",
        "convert it anew",
    ),
    "trial.not_finite": Known(
        ERROR,
        "logits that are no numbers pick no token: weights or caches are damaged, or overflow",
        "convert it anew from the checkpoint; with float16, use float32 or int8",
        (
            "Invalid decode and sample result. The sampled token is negative. This is caused by "
            "invalid sampling or sampling from an invalid logits tensor, usually an overflowed "
            "logits tensor.",
        ),
    ),
    "trial.ran": Known(
        NOTE,
        "the logits are finite, whatever they are worth",
        "nothing; how good the answers are is what taskpress build --report measures",
    ),
}
