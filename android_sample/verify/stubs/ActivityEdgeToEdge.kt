package androidx.activity

// the real one has two more parameters, with defaults, that the sample does not give
fun ComponentActivity.enableEdgeToEdge(): Unit = throw UnsupportedOperationException("stub")
