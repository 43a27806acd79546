package standin;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** What the engines were told, for tests; outside of the libraries' packages, whose surface is checked. */
public final class EngineLog {
  public static final List<String> LINES = Collections.synchronizedList(new ArrayList<>());

  private EngineLog() {}
}
