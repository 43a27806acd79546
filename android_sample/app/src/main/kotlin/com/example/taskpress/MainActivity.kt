package com.example.taskpress

import android.content.ActivityNotFoundException
import android.net.Uri
import android.os.Bundle
import androidx.activity.ComponentActivity
import androidx.activity.OnBackPressedCallback
import androidx.activity.compose.setContent
import androidx.activity.enableEdgeToEdge
import androidx.activity.result.contract.ActivityResultContracts
import androidx.activity.viewModels
import androidx.compose.runtime.LaunchedEffect
import androidx.compose.runtime.collectAsState
import androidx.compose.runtime.getValue
import androidx.lifecycle.viewmodel.initializer
import androidx.lifecycle.viewmodel.viewModelFactory
import com.example.taskpress.model.DocumentSource
import com.example.taskpress.ui.AppScreen
import com.example.taskpress.ui.AppTheme
import com.example.taskpress.ui.Screen

class MainActivity : ComponentActivity() {
    private val model: ChatViewModel by viewModels {
        viewModelFactory { initializer { ChatViewModel(applicationContext) } }
    }
    private val picker = registerForActivityResult(ActivityResultContracts.OpenDocument()) { uri: Uri? ->
        model.picked(uri?.let { DocumentSource(contentResolver, it, getString(R.string.unnamed_bundle)) })
    }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        enableEdgeToEdge()
        // no type says "bundle": file managers know neither suffix
        model.onPick = {
            try {
                picker.launch(arrayOf("*/*"))
            } catch (_: ActivityNotFoundException) {
                model.library.say("This phone has no app that picks files. Bring the bundle by adb, or from the web")
            }
        }
        val back = object : OnBackPressedCallback(false) {
            override fun handleOnBackPressed() = model.show(Screen.CHAT)
        }
        onBackPressedDispatcher.addCallback(this, back)
        setContent {
            val screen by model.screen.collectAsState()
            val chat by model.chat.state.collectAsState()
            val library by model.library.state.collectAsState()
            LaunchedEffect(screen) { back.isEnabled = screen == Screen.SETTINGS }
            AppTheme { AppScreen(screen, chat, library, model.adbFolder, model) }
        }
    }
}
