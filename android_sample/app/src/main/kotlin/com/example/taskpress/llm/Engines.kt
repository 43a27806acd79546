package com.example.taskpress.llm

import android.content.Context
import com.example.taskpress.model.Runtime

/** Opens a bundle in the engine that it is for; blocks, so not on the main thread. */
fun openModel(context: Context, request: LoadRequest, backend: Backend): TextModel = when (request.info.runtime) {
    Runtime.MEDIAPIPE -> MediaPipeModel.open(context, request, backend)
    Runtime.LITERT_LM -> LiteRtLmModel.open(context.cacheDir, request, backend)
}
