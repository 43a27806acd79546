package com.example.taskpress.ui

import androidx.compose.foundation.background
import androidx.compose.foundation.layout.Box
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.height
import androidx.compose.foundation.layout.imePadding
import androidx.compose.foundation.layout.navigationBarsPadding
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.layout.statusBarsPadding
import androidx.compose.material3.Icon
import androidx.compose.material3.IconButton
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.Scaffold
import androidx.compose.material3.Surface
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.text.style.TextOverflow
import androidx.compose.ui.unit.dp
import com.example.taskpress.chat.ChatState
import com.example.taskpress.chat.Phase
import com.example.taskpress.chat.TokenBudget
import com.example.taskpress.model.BundleStore.Companion.shortName
import com.example.taskpress.model.LibraryState

@Composable
fun ChatScreen(chat: ChatState, library: LibraryState, actions: AppActions) {
    Scaffold(
        topBar = { ChatBar(chat, actions) },
        bottomBar = { if (chat.model != null) Composer(chat, actions) },
    ) { padding ->
        Column(Modifier.fillMaxSize().padding(padding)) {
            val problem = chat.problem ?: library.problem
            if (problem != null) Banner(problem, Tone.ERROR, actions::dismiss)
            Box(Modifier.weight(1f).fillMaxWidth(), contentAlignment = Alignment.TopCenter) {
                when {
                    chat.phase == Phase.LOADING -> Loading(chat)
                    chat.model == null -> Start(library, actions)
                    chat.messages.isEmpty() -> EmptyChat(chat.model)
                    else -> MessageList(chat)
                }
            }
        }
    }
}

@Composable
private fun ChatBar(chat: ChatState, actions: AppActions) {
    Surface(color = MaterialTheme.colorScheme.secondaryContainer) {
        Column(Modifier.statusBarsPadding()) {
            Row(
                Modifier.fillMaxWidth().padding(start = 16.dp, end = 4.dp, top = 4.dp, bottom = 4.dp),
                verticalAlignment = Alignment.CenterVertically,
            ) {
                Column(Modifier.weight(1f)) {
                    Text(
                        (chat.model?.name ?: chat.loading)?.let(::shortName) ?: "Taskpress Chat",
                        style = MaterialTheme.typography.titleMedium,
                        maxLines = 1,
                        overflow = TextOverflow.Ellipsis,
                    )
                    if (chat.model != null) Text(status(chat), style = MaterialTheme.typography.bodySmall)
                }
                if (chat.model != null) {
                    IconButton(onClick = actions::newChat, enabled = chat.canReset) { Icon(Icons.NewChat, "New chat") }
                }
                IconButton(onClick = { actions.show(Screen.SETTINGS) }) { Icon(Icons.Settings, "Settings") }
            }
            if (chat.model != null) ContextBar(chat.budget)
        }
    }
}

private fun status(chat: ChatState): String {
    val model = chat.model ?: return ""
    val backend = if (model.note == null) model.backend.name else "${model.backend.name}, the GPU failed"
    val used = chat.budget.contextTokens?.let { "${chat.budget.usedTokens} of $it tokens" } ?: "${chat.budget.usedTokens} tokens"
    return "$backend · $used"
}

/** How much of the context is used, as a line. */
@Composable
private fun ContextBar(budget: TokenBudget) {
    val context = budget.contextTokens ?: return
    val color = if (budget.full) MaterialTheme.colorScheme.error else MaterialTheme.colorScheme.primary
    Box(Modifier.fillMaxWidth().height(3.dp).background(MaterialTheme.colorScheme.outlineVariant)) {
        Box(Modifier.fillMaxWidth((budget.usedTokens.toFloat() / context).coerceIn(0f, 1f)).height(3.dp).background(color))
    }
}

@Composable
private fun Composer(chat: ChatState, actions: AppActions) {
    Surface(color = MaterialTheme.colorScheme.secondaryContainer) {
        Column(Modifier.fillMaxWidth().navigationBarsPadding().imePadding(), horizontalAlignment = Alignment.CenterHorizontally) {
            if (chat.budget.full) Banner("The context is full: start a new chat to go on.", Tone.NOTE, onDismiss = null)
            ComposerRow(chat, actions)
        }
    }
}
