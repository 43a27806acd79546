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
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.unit.Dp
import androidx.compose.ui.unit.dp
import com.example.taskpress.model.BundleStore.Companion.megabytes
import com.example.taskpress.model.StoredBundle
import com.example.taskpress.model.Transfer

@Composable
internal fun BundleCard(bundle: StoredBundle, loaded: Boolean, actions: AppActions) = Panel(bottom = if (loaded) 16.dp else 4.dp) {
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
    if (loaded) return@Panel
    Row(Modifier.fillMaxWidth(), horizontalArrangement = Arrangement.spacedBy(8.dp, Alignment.End)) {
        TextButton(onClick = { actions.delete(bundle) }) { Text("Remove") }
        if (bundle.info != null) TextButton(onClick = { actions.load(bundle) }) { Text("Load") }
    }
}

@Composable
internal fun TransferCard(transfer: Transfer, onCancel: () -> Unit) = Panel(bottom = 4.dp) {
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
    Row(Modifier.fillMaxWidth(), horizontalArrangement = Arrangement.End) { TextButton(onClick = onCancel) { Text("Cancel") } }
}

@Composable
internal fun Panel(bottom: Dp = 16.dp, content: @Composable () -> Unit) = Surface(
    Modifier.fillMaxWidth(),
    shape = RoundedCornerShape(12.dp),
    color = MaterialTheme.colorScheme.surfaceContainerHighest,
) {
    Column(Modifier.padding(start = 16.dp, top = 16.dp, end = 16.dp, bottom = bottom), verticalArrangement = Arrangement.spacedBy(8.dp)) {
        content()
    }
}
