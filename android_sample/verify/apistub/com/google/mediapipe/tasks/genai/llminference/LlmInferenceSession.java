package com.google.mediapipe.tasks.genai.llminference;

import com.google.common.util.concurrent.ListenableFuture;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import standin.EngineLog;

/** Answers a prompt with its letters in reverse, one at a time, on a thread of its own. At a "#" it waits to be cancelled. */
@Deprecated
public class LlmInferenceSession implements AutoCloseable {
  private static final class Answer extends CompletableFuture<String> implements ListenableFuture<String> {
    @Override
    public void addListener(Runnable listener, Executor executor) {
      whenCompleteAsync((text, error) -> listener.run(), executor);
    }
  }

  private final LlmInference engine;
  private final StringBuilder query = new StringBuilder();
  private volatile boolean cancelled;

  private LlmInferenceSession(LlmInference engine) {
    this.engine = engine;
  }

  public static LlmInferenceSession createFromOptions(LlmInference llmInference, LlmInferenceSessionOptions options) {
    if (options.topK() > llmInference.options.maxTopK()) throw new IllegalStateException("Top-K above maxTopK");
    if (llmInference.options.modelPath().contains("nosession")) throw new IllegalStateException("No session");
    EngineLog.LINES.add("session topK=" + options.topK());
    return new LlmInferenceSession(llmInference);
  }

  private void validateState() {
    if (engine.locked.get()) throw new IllegalStateException("Previous invocation still processing. Wait for done=true.");
  }

  public void addQueryChunk(String inputText) {
    validateState();
    query.append(inputText);
  }

  public ListenableFuture<String> generateResponseAsync(ProgressListener<String> progressListener) {
    validateState();
    if (engine.locked.getAndSet(true)) throw new IllegalStateException("Cannot acquire LLM task lock while locked.");
    String prompt = query.toString();
    query.setLength(0);
    cancelled = false;
    Answer answer = new Answer();
    Thread thread = new Thread(() -> answer(prompt, answer, progressListener), "engine");
    thread.setDaemon(true);
    thread.start();
    return answer;
  }

  private void answer(String prompt, Answer answer, ProgressListener<String> listener) {
    StringBuilder all = new StringBuilder();
    try {
      for (int i = prompt.length() - 1; i >= 0; i--) {
        String piece = prompt.substring(i, i + 1);
        for (int waited = 0; piece.equals("#") && waited < 4000 && !cancelled; waited++) Thread.sleep(5);
        if (cancelled) break;
        all.append(piece);
        listener.run(piece, false);
        Thread.sleep(5);
      }
    } catch (InterruptedException e) {
      return;
    }
    EngineLog.LINES.add(cancelled ? "cancelled" : "done");
    listener.run("", true);
    engine.locked.set(false);
    answer.complete(all.toString());
  }

  public void cancelGenerateResponseAsync() {
    cancelled = true;
  }

  public int sizeInTokens(String text) {
    validateState();
    return text.length();
  }

  @Override
  public void close() {
    validateState();
    EngineLog.LINES.add("session closed");
  }

  public abstract static class LlmInferenceSessionOptions {
    public abstract int topK();

    public static Builder builder() {
      return new OptionsBuilder();
    }

    public abstract static class Builder {
      public abstract Builder setTopK(int topK);

      public abstract Builder setTopP(float topP);

      public abstract Builder setTemperature(float temperature);

      public abstract Builder setRandomSeed(int randomSeed);

      abstract LlmInferenceSessionOptions autoBuild();

      public final LlmInferenceSessionOptions build() {
        return autoBuild();
      }
    }
  }

  private static final class OptionsBuilder extends LlmInferenceSessionOptions.Builder {
    private int topK = 40;

    @Override
    public OptionsBuilder setTopK(int value) {
      topK = value;
      return this;
    }

    @Override
    public OptionsBuilder setTopP(float value) {
      return this;
    }

    @Override
    public OptionsBuilder setTemperature(float value) {
      return this;
    }

    @Override
    public OptionsBuilder setRandomSeed(int value) {
      return this;
    }

    @Override
    LlmInferenceSessionOptions autoBuild() {
      final int value = topK;
      return new LlmInferenceSessionOptions() {
        @Override
        public int topK() {
          return value;
        }
      };
    }
  }
}
