package com.example.taskpress.ui

import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.text.selection.SelectionContainer
import androidx.compose.material3.Button
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.OutlinedButton
import androidx.compose.material3.OutlinedTextField
import androidx.compose.material3.Text
import androidx.compose.material3.TextButton
import androidx.compose.runtime.Composable
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.saveable.rememberSaveable
import androidx.compose.runtime.setValue
import androidx.compose.ui.Modifier
import androidx.compose.ui.text.font.FontFamily
import androidx.compose.ui.unit.dp
import com.example.taskpress.model.BundleInfo
import com.example.taskpress.model.BundleStore.Companion.megabytes
import com.example.taskpress.model.LibraryState
import com.example.taskpress.model.Runtime

/** The three ways to get a bundle in. */
@Composable
internal fun GetBundle(library: LibraryState, adbFolder: String, actions: AppActions) =
    Column(verticalArrangement = Arrangement.spacedBy(12.dp)) {
        library.transfer?.let { TransferCard(it, actions::cancelTransfer) }
        val idle = library.transfer == null
        Button(onClick = actions::pick, enabled = idle) { Text("From a file on the phone") }
        Panel {
            Text("From a computer", style = MaterialTheme.typography.titleSmall)
            SelectionContainer {
                Text("adb push my.task $adbFolder/", style = MaterialTheme.typography.bodyMedium.copy(fontFamily = FontFamily.Monospace))
            }
            if (library.waiting.isEmpty()) Hint("What is pushed there is listed here.")
            library.waiting.forEach { file ->
                TextButton(onClick = { actions.take(file) }, enabled = idle) { Text("Copy in ${file.name}, ${megabytes(file.length())}") }
            }
        }
        DownloadPanel(idle, actions)
    }

@Composable
private fun DownloadPanel(idle: Boolean, actions: AppActions) = Panel {
    var address by rememberSaveable { mutableStateOf("") }
    var sha256 by rememberSaveable { mutableStateOf("") }
    Text("From the web", style = MaterialTheme.typography.titleSmall)
    OutlinedTextField(address, { address = it }, Modifier.fillMaxWidth(), label = { Text("Address, https://…") }, singleLine = true)
    OutlinedTextField(sha256, { sha256 = it }, Modifier.fillMaxWidth(), label = { Text("SHA-256 of the file") }, singleLine = true)
    OutlinedButton(
        onClick = { actions.download(address, sha256) },
        enabled = idle && address.isNotBlank() && sha256.isNotBlank(),
    ) { Text("Download") }
    Hint("A download that broke off goes on where it stopped.")
}

/** All of it is read from the bundle; the engines apply it themselves. */
@Composable
internal fun BundleFacts(info: BundleInfo) = Panel {
    val format = info.format
    Fact("Context", info.contextTokens?.let { "$it tokens" } ?: "not said")
    Fact("Runs in", if (info.runtime == Runtime.MEDIAPIPE) "MediaPipe LLM Inference" else "LiteRT-LM")
    Fact("Begins with", shown(format.startToken).ifEmpty { format.startTokenId?.let { "token $it" }.orEmpty() })
    Fact("Ends at", (format.stopTokens.map(::shown) + format.stopTokenIds.map { "token $it" }).joinToString("  "))
    Fact("System", affixes(format.systemPrefix.ifEmpty { format.sessionPrefix }, format.systemSuffix))
    Fact("User", affixes(format.userPrefix, format.userSuffix))
    Fact("Model", affixes(format.modelPrefix, format.modelSuffix))
    val sampler = info.sampler
    val sampling = listOfNotNull(
        sampler?.topK?.let { "top-k $it" },
        sampler?.topP?.let { "top-p $it" },
        sampler?.temperature?.let { "temperature $it" },
    ).joinToString(", ")
    Fact("Sampling", sampling.ifEmpty { "not said; the engine's own is used" })
}

@Composable
private fun Fact(name: String, value: String) = Column {
    Text(name, style = MaterialTheme.typography.labelMedium, color = MaterialTheme.colorScheme.onSurfaceVariant)
    Text(value.ifEmpty { "nothing" }, style = MaterialTheme.typography.bodyMedium)
}

private fun affixes(prefix: String, suffix: String): String =
    if (prefix.isEmpty() && suffix.isEmpty()) "" else "${shown(prefix)} … ${shown(suffix)}"

private fun shown(text: String): String = text.replace("\n", "\\n")
