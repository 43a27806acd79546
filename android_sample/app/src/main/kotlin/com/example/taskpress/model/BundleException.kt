package com.example.taskpress.model

import java.io.IOException

/** A file that is no usable bundle, or that could not be brought in; the message is shown to the user as it is. */
class BundleException(message: String, cause: Throwable? = null) : IOException(message, cause)
