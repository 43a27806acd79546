package com.example.taskpress.ui

import androidx.compose.foundation.background
import androidx.compose.foundation.horizontalScroll
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Box
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.PaddingValues
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.layout.widthIn
import androidx.compose.foundation.lazy.LazyColumn
import androidx.compose.foundation.lazy.items
import androidx.compose.foundation.lazy.rememberLazyListState
import androidx.compose.foundation.rememberScrollState
import androidx.compose.foundation.shape.RoundedCornerShape
import androidx.compose.foundation.text.selection.SelectionContainer
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.runtime.LaunchedEffect
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.text.font.FontFamily
import androidx.compose.ui.unit.dp
import com.example.taskpress.chat.Author
import com.example.taskpress.chat.ChatState
import com.example.taskpress.chat.Message
import com.example.taskpress.chat.Phase
import com.example.taskpress.chat.Speed
import java.util.Locale

/** From the newest message upwards: a reply that grows stays in sight, unless the user has scrolled away. */
@Composable
internal fun MessageList(chat: ChatState) {
    val list = rememberLazyListState()
    LaunchedEffect(chat.messages.size) { list.scrollToItem(0) }
    LazyColumn(
        Modifier.widthIn(max = ContentWidth).fillMaxSize(),
        state = list,
        reverseLayout = true,
        contentPadding = PaddingValues(16.dp),
        verticalArrangement = Arrangement.spacedBy(16.dp),
    ) {
        items(chat.messages.asReversed(), key = { it.id }) { message ->
            if (message.author == Author.USER) Question(message) else Answer(message, chat.takeIf { message == chat.messages.last() })
        }
    }
}

@Composable
private fun Question(message: Message) = Box(Modifier.fillMaxWidth().padding(start = 48.dp), contentAlignment = Alignment.CenterEnd) {
    SelectionContainer(
        Modifier.background(MaterialTheme.colorScheme.primaryContainer, RoundedCornerShape(20.dp, 20.dp, 4.dp, 20.dp))
            .padding(horizontal = 16.dp, vertical = 10.dp),
    ) { Text(message.text, color = MaterialTheme.colorScheme.onPrimaryContainer) }
}

/** [chat] is given for the last message only. */
@Composable
private fun Answer(message: Message, chat: ChatState?) = Column(Modifier.fillMaxWidth(), verticalArrangement = Arrangement.spacedBy(8.dp)) {
    SelectionContainer {
        Column(verticalArrangement = Arrangement.spacedBy(8.dp)) {
            blocks(message.text).forEach { if (it.code) Code(it.text) else Text(it.text) }
        }
    }
    val phase = chat?.phase
    when {
        message.error != null -> Remark(message.error, isError = true)
        message.stopped -> Remark("Stopped", isError = false)
        phase == Phase.READING -> Remark("Reading the message…", isError = false)
        phase == Phase.WRITING -> Remark("Writing…", isError = false)
        phase == Phase.STOPPING -> Remark("Stopping…", isError = false)
        chat?.speed != null -> Remark(speedText(chat.speed), isError = false)
    }
}

private fun speedText(speed: Speed): String {
    val first = "first token after %.1f s".format(Locale.ROOT, speed.firstTokenMs / 1000.0)
    return speed.tokensPerSecond?.let { "%.1f tokens/s, %s".format(Locale.ROOT, it, first) } ?: first
}

@Composable
private fun Code(text: String) = Box(
    Modifier.fillMaxWidth().background(MaterialTheme.colorScheme.surfaceVariant, RoundedCornerShape(8.dp))
        .horizontalScroll(rememberScrollState()).padding(12.dp),
) { Text(text, style = MaterialTheme.typography.bodyMedium.copy(fontFamily = FontFamily.Monospace), softWrap = false) }

@Composable
private fun Remark(text: String, isError: Boolean) = Text(
    text,
    style = MaterialTheme.typography.bodySmall,
    color = if (isError) MaterialTheme.colorScheme.error else MaterialTheme.colorScheme.onSurfaceVariant,
)
