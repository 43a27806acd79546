package com.example.taskpress.ui

import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.layout.widthIn
import androidx.compose.foundation.rememberScrollState
import androidx.compose.foundation.shape.RoundedCornerShape
import androidx.compose.foundation.verticalScroll
import androidx.compose.material3.Button
import androidx.compose.material3.LinearProgressIndicator
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.OutlinedButton
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.text.font.FontFamily
import androidx.compose.ui.text.style.TextAlign
import androidx.compose.ui.unit.dp
import com.example.taskpress.chat.ChatState
import com.example.taskpress.chat.LoadedModel
import com.example.taskpress.model.LibraryState

/** No model is loaded: the bundles that are there, and the shortest way to get one. */
@Composable
internal fun Start(library: LibraryState, actions: AppActions) = Column(
    Modifier.widthIn(max = ContentWidth).fillMaxSize().verticalScroll(rememberScrollState()).padding(horizontal = 16.dp, vertical = 24.dp),
    verticalArrangement = Arrangement.spacedBy(16.dp),
) {
    Text("Chat with your own model", style = MaterialTheme.typography.headlineSmall)
    Text(
        "Open a .task or .litertlm bundle. It is copied into the app, and runs only on this phone.",
        style = MaterialTheme.typography.bodyLarge,
        color = MaterialTheme.colorScheme.onSurfaceVariant,
    )
    val transfer = library.transfer
    if (transfer != null) {
        TransferCard(transfer, actions::cancelTransfer)
    } else {
        Button(onClick = actions::pick, Modifier.fillMaxWidth()) { Text("Open a bundle") }
        OutlinedButton(onClick = { actions.show(Screen.SETTINGS) }, Modifier.fillMaxWidth()) { Text("By adb, or from the web") }
    }
    if (library.bundles.isEmpty()) {
        Panel {
            Text("No bundle yet?", style = MaterialTheme.typography.titleSmall)
            Text("On a computer, make one from a model:", style = MaterialTheme.typography.bodyMedium)
            Text("taskpress build MODEL -o my.task", style = MaterialTheme.typography.bodyMedium.copy(fontFamily = FontFamily.Monospace))
        }
    } else {
        Text("On this phone", style = MaterialTheme.typography.titleMedium)
        library.bundles.forEach { BundleCard(it, loaded = false, actions) }
    }
}

@Composable
internal fun Loading(chat: ChatState) = Column(
    Modifier.widthIn(max = ContentWidth).fillMaxSize().padding(32.dp),
    verticalArrangement = Arrangement.spacedBy(16.dp, Alignment.CenterVertically),
    horizontalAlignment = Alignment.CenterHorizontally,
) {
    Text("Loading on the ${chat.wanted.name}", style = MaterialTheme.typography.headlineSmall, textAlign = TextAlign.Center)
    LinearProgressIndicator(Modifier.fillMaxWidth())
    Text(
        "The first time takes longest: the engine prepares the weights, and keeps them for the next time.",
        style = MaterialTheme.typography.bodyMedium,
        color = MaterialTheme.colorScheme.onSurfaceVariant,
        textAlign = TextAlign.Center,
    )
}

@Composable
internal fun EmptyChat(model: LoadedModel) = Column(
    Modifier.widthIn(max = ContentWidth).fillMaxSize().padding(32.dp),
    verticalArrangement = Arrangement.spacedBy(12.dp, Alignment.CenterVertically),
    horizontalAlignment = Alignment.CenterHorizontally,
) {
    Text("Ready", style = MaterialTheme.typography.headlineSmall)
    Text(
        "Write a message below. " +
            (model.info.contextTokens?.let { "The chat has room for $it tokens." } ?: "The bundle does not say how long a chat may be."),
        style = MaterialTheme.typography.bodyMedium,
        color = MaterialTheme.colorScheme.onSurfaceVariant,
        textAlign = TextAlign.Center,
    )
    model.note?.let { Banner("$it.", Tone.NOTE, onDismiss = null, RoundedCornerShape(12.dp)) }
}
