package com.example.taskpress.ui

import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.shape.RoundedCornerShape
import androidx.compose.material3.LinearProgressIndicator
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.Surface
import androidx.compose.material3.Text
import androidx.compose.material3.TextButton
import androidx.compose.runtime.Composable
import androidx.compose.ui.Modifier
import androidx.compose.ui.unit.dp
import com.example.taskpress.model.BundleStore.Companion.megabytes
import com.example.taskpress.model.StoredBundle
import com.example.taskpress.model.Transfer

@Composable
internal fun BundleCard(bundle: StoredBundle, loaded: Boolean, actions: AppActions) = Panel {
    Text(bundle.file.name, style = MaterialTheme.typography.titleSmall)
    Text(
        bundle.problem ?: listOfNotNull(
            megabytes(bundle.sizeBytes),
            bundle.info?.contextTokens?.let { "context of $it tokens" },
            if (loaded) "loaded" else null,
        ).joinToString(" · "),
        style = MaterialTheme.typography.bodySmall,
        color = if (bundle.problem == null) MaterialTheme.colorScheme.onSurfaceVariant else MaterialTheme.colorScheme.error,
    )
    Row(horizontalArrangement = Arrangement.spacedBy(8.dp)) {
        if (bundle.info != null && !loaded) TextButton(onClick = { actions.load(bundle) }) { Text("Load") }
        if (!loaded) TextButton(onClick = { actions.delete(bundle) }) { Text("Remove") }
    }
}

@Composable
internal fun TransferCard(transfer: Transfer, onCancel: () -> Unit) = Panel {
    val (done, total) = transfer.progress
    Text(transfer.name, style = MaterialTheme.typography.titleSmall)
    if (total != null && total > 0) {
        LinearProgressIndicator(progress = { done.toFloat() / total }, modifier = Modifier.fillMaxWidth())
    } else {
        LinearProgressIndicator(Modifier.fillMaxWidth())
    }
    Text(
        megabytes(done) + (total?.let { " of ${megabytes(it)}" } ?: ""),
        style = MaterialTheme.typography.bodySmall,
        color = MaterialTheme.colorScheme.onSurfaceVariant,
    )
    TextButton(onClick = onCancel) { Text("Cancel") }
}

@Composable
internal fun Panel(content: @Composable () -> Unit) = Surface(
    Modifier.fillMaxWidth(),
    shape = RoundedCornerShape(12.dp),
    color = MaterialTheme.colorScheme.surfaceContainerHighest,
) {
    Column(Modifier.padding(16.dp), verticalArrangement = Arrangement.spacedBy(8.dp)) { content() }
}
