package com.google.mediapipe.tasks.genai.llminference;

import android.content.Context;
import java.util.concurrent.atomic.AtomicBoolean;
import standin.EngineLog;

/**
 * Stands in for com.google.mediapipe:tasks-genai where Google's Maven is out of reach: the part of its surface that the app
 * uses, and its locking. A step checks that nothing here is declared otherwise than surface/mediapipe.txt lists it.
 */
@Deprecated
public class LlmInference implements AutoCloseable {
  public enum Backend { DEFAULT, CPU, GPU }

  final AtomicBoolean locked = new AtomicBoolean();
  final LlmInferenceOptions options;

  private LlmInference(LlmInferenceOptions options) {
    this.options = options;
  }

  public static LlmInference createFromOptions(Context context, LlmInferenceOptions options) {
    Backend backend = ((Options) options).backend;
    EngineLog.LINES.add("engine " + backend + " " + options.maxTokens());
    if (options.modelPath().contains("nolib")) {
      throw new UnsatisfiedLinkError("dlopen failed: library \"libllm_inference_engine_jni.so\" not found");
    }
    if (options.modelPath().contains("nogpu") && backend == Backend.GPU) {
      throw new IllegalStateException("Failed to initialize engine: no OpenCL");
    }
    if (options.modelPath().contains("bad")) throw new IllegalStateException("Failed to initialize engine: bad model");
    return new LlmInference(options);
  }

  @Override
  public void close() {
    if (locked.get()) throw new IllegalStateException("Previous invocation still processing. Wait for done=true.");
    EngineLog.LINES.add("engine closed");
  }

  public abstract static class LlmInferenceOptions {
    public abstract String modelPath();

    public abstract int maxTokens();

    public abstract int maxTopK();

    public static Builder builder() {
      return new OptionsBuilder();
    }

    public abstract static class Builder {
      public abstract Builder setModelPath(String modelPath);

      public abstract Builder setMaxTokens(int maxTokens);

      public abstract Builder setMaxTopK(int maxTopK);

      public abstract Builder setPreferredBackend(Backend preferredBackend);

      abstract LlmInferenceOptions autoBuild();

      public final LlmInferenceOptions build() {
        return autoBuild();
      }
    }
  }

  private static final class Options extends LlmInferenceOptions {
    private final String path;
    private final int tokens;
    private final int topK;
    private final Backend backend;

    private Options(String path, int tokens, int topK, Backend backend) {
      this.path = path;
      this.tokens = tokens;
      this.topK = topK;
      this.backend = backend;
    }

    @Override
    public String modelPath() {
      return path;
    }

    @Override
    public int maxTokens() {
      return tokens;
    }

    @Override
    public int maxTopK() {
      return topK;
    }
  }

  private static final class OptionsBuilder extends LlmInferenceOptions.Builder {
    private String path;
    private int tokens = 512;
    private int topK = 40;
    private Backend backend = Backend.DEFAULT;

    @Override
    public OptionsBuilder setModelPath(String value) {
      path = value;
      return this;
    }

    @Override
    public OptionsBuilder setMaxTokens(int value) {
      tokens = value;
      return this;
    }

    @Override
    public OptionsBuilder setMaxTopK(int value) {
      topK = value;
      return this;
    }

    @Override
    public OptionsBuilder setPreferredBackend(Backend value) {
      backend = value;
      return this;
    }

    @Override
    LlmInferenceOptions autoBuild() {
      if (path == null) throw new IllegalStateException("Missing required properties: modelPath");
      return new Options(path, tokens, topK, backend);
    }
  }
}
