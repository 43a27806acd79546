package com.example.taskpress.model

/** What the app needs of the TFLite model inside a `.task`; the weights are not read. */
object TfliteModel {
    private const val CACHE = "kv_cache_k_0"

    // Numbers of fields. Source: TFLite's schema.fbs, version 3
    private const val SUBGRAPHS = 2
    private const val SIGNATURES = 7
    private const val TENSORS = 0
    private const val SHAPE = 0
    private const val INPUTS = 0
    private const val SUBGRAPH = 4
    private const val INPUT_NAME = 0
    private const val INPUT_TENSOR = 1

    /**
     * Tokens that the model's key/value cache holds, or null where no signature has such an input.
     *
     * METADATA does not say it, so it is read from the shape of the cache: taskpress lays it out as
     * [1, heads, context, head_dim], other converters as [1, context, heads, head_dim]. A context is
     * longer than its heads are many, so the larger of the two is it.
     */
    fun contextTokens(window: Window): Int? {
        if (window.sizeBytes < 8 || window.read(4, 4).decodeToString() != "TFL3") {
            throw BundleException("${window.name} is no TFLite model; build the bundle anew with `taskpress build`")
        }
        val model = Flatbuffer.root(window)
        return model.elements(SIGNATURES).mapNotNull { signature ->
            val cache = signature.elements(INPUTS).firstOrNull { it.text(INPUT_NAME) == CACHE } ?: return@mapNotNull null
            val graph = model.element(SUBGRAPHS, signature.number(SUBGRAPH, 4))
            val shape = graph.element(TENSORS, cache.number(INPUT_TENSOR, 4)).shape(SHAPE)
            if (shape.size == 4) maxOf(shape[1], shape[2]).takeIf { it > 0 } else null
        }.minOrNull()
    }
}
