package com.example.taskpress.ui

import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Box
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.imePadding
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.layout.statusBarsPadding
import androidx.compose.foundation.layout.widthIn
import androidx.compose.foundation.rememberScrollState
import androidx.compose.foundation.selection.selectable
import androidx.compose.foundation.verticalScroll
import androidx.compose.material3.Icon
import androidx.compose.material3.IconButton
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.OutlinedButton
import androidx.compose.material3.RadioButton
import androidx.compose.material3.Scaffold
import androidx.compose.material3.Surface
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.semantics.Role
import androidx.compose.ui.unit.dp
import com.example.taskpress.chat.ChatState
import com.example.taskpress.llm.Backend
import com.example.taskpress.model.LibraryState

@Composable
fun SettingsScreen(chat: ChatState, library: LibraryState, adbFolder: String, actions: AppActions) {
    Scaffold(topBar = { SettingsBar(actions) }) { padding ->
        Column(Modifier.fillMaxSize().padding(padding).imePadding()) {
            (chat.problem ?: library.problem)?.let { Banner(it, Tone.ERROR, actions::dismiss) }
            Box(Modifier.weight(1f).fillMaxWidth(), contentAlignment = Alignment.TopCenter) {
                Column(
                    Modifier.widthIn(max = ContentWidth).fillMaxWidth().verticalScroll(rememberScrollState()).padding(16.dp),
                    verticalArrangement = Arrangement.spacedBy(12.dp),
                ) {
                    BackendChoice(chat, actions)
                    Heading("Bundles on this phone")
                    if (library.bundles.isEmpty()) Hint("None yet.")
                    library.bundles.forEach { BundleCard(it, loaded = it.file.name == chat.model?.name, actions) }
                    Heading("Get a bundle")
                    GetBundle(library, adbFolder, actions)
                    chat.model?.let {
                        Heading("What the loaded bundle says")
                        BundleFacts(it.info)
                    }
                    Hint(
                        "MediaPipe, which runs .task bundles, sends usage metrics to Google. An app that is published must ask its users.",
                    )
                }
            }
        }
    }
}

@Composable
private fun SettingsBar(actions: AppActions) = Surface(color = MaterialTheme.colorScheme.secondaryContainer) {
    Row(Modifier.fillMaxWidth().statusBarsPadding().padding(4.dp), verticalAlignment = Alignment.CenterVertically) {
        IconButton(onClick = { actions.show(Screen.CHAT) }) { Icon(Icons.Back, "Back") }
        Text("Settings", Modifier.padding(start = 4.dp), style = MaterialTheme.typography.titleMedium)
    }
}

@Composable
private fun BackendChoice(chat: ChatState, actions: AppActions) {
    Heading("Where the model runs")
    Column {
        for (backend in Backend.entries) {
            val chosen = chat.wanted == backend
            Row(
                Modifier.fillMaxWidth().selectable(chosen, role = Role.RadioButton) { actions.want(backend) }.padding(vertical = 8.dp),
                verticalAlignment = Alignment.CenterVertically,
            ) {
                RadioButton(selected = chosen, onClick = null, modifier = Modifier.padding(end = 12.dp))
                Text(if (backend == Backend.GPU) "GPU, or the CPU if that fails" else "CPU")
            }
        }
    }
    val model = chat.model ?: return
    Hint(listOfNotNull("The loaded bundle runs on the ${model.backend.name}.", model.note?.let { "$it." }).joinToString(" "))
    if (chat.wanted !=
        model.backend
    ) {
        OutlinedButton(onClick = actions::loadAgain, enabled = !chat.replying) { Text("Load it again on the ${chat.wanted.name}") }
    }
}

@Composable
internal fun Heading(text: String) =
    Text(text, Modifier.padding(top = 8.dp), style = MaterialTheme.typography.titleMedium, color = MaterialTheme.colorScheme.primary)

@Composable
internal fun Hint(text: String) =
    Text(text, style = MaterialTheme.typography.bodyMedium, color = MaterialTheme.colorScheme.onSurfaceVariant)
