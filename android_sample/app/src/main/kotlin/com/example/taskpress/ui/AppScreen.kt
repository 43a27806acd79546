package com.example.taskpress.ui

import androidx.compose.material3.AlertDialog
import androidx.compose.material3.Text
import androidx.compose.material3.TextButton
import androidx.compose.runtime.Composable
import com.example.taskpress.chat.ChatState
import com.example.taskpress.model.LibraryState

/** The whole app. It has no state of its own but what is being typed, so a rotation loses nothing. */
@Composable
fun AppScreen(screen: Screen, chat: ChatState, library: LibraryState, adbFolder: String, actions: AppActions) {
    when (screen) {
        Screen.CHAT -> ChatScreen(chat, library, actions)
        Screen.SETTINGS -> SettingsScreen(chat, library, adbFolder, actions)
    }
    chat.memory?.let { question ->
        AlertDialog(
            onDismissRequest = actions::dismiss,
            title = { Text("Little memory is free") },
            text = { Text(question.text + ".") },
            confirmButton = { TextButton(onClick = actions::loadAnyway) { Text("Load anyway") } },
            dismissButton = { TextButton(onClick = actions::dismiss) { Text("Cancel") } },
        )
    }
}
