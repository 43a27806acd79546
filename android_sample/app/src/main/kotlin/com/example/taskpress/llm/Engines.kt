package com.example.taskpress.llm

import android.content.Context
import com.example.taskpress.model.BundleKind

/** Opens a bundle in the engine of its kind; blocks, so not on the main thread. */
fun openModel(context: Context, request: LoadRequest, backend: Backend): TextModel = when (request.info.kind) {
    BundleKind.TASK -> MediaPipeModel.open(context, request, backend)
    BundleKind.LITERTLM -> LiteRtLmModel.open(context.cacheDir, request, backend)
}
