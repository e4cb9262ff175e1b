import java.io.FileInputStream;
import java.io.PrintStream;
import java.util.Properties;
import kafka.server.KafkaConfig;
import kafka.server.KafkaRaftServer;
import kafka.tools.StorageTool;
import org.apache.kafka.common.utils.Time;

/**
 * One Kafka node, broker and controller at once (KRaft), in this process. Arguments: its properties file, the cluster's
 * id. The folder is formatted if it is not yet. Says "ready" when it answers; ends when standard input does.
 */
public final class KafkaBroker {
  public static void main(String[] args) {
    Thread parent = new Thread(KafkaBroker::endWithParent);
    parent.setDaemon(true);
    parent.start();
    try {
      serve(args);
    } catch (Throwable failure) {
      failure.printStackTrace();
      Runtime.getRuntime().halt(1);
    }
  }

  /** Standard input ends when whoever started this process has died; a byte on it asks for an orderly end. */
  private static void endWithParent() {
    int asked = -1;
    try {
      asked = System.in.read();
    } catch (java.io.IOException failure) {
      failure.printStackTrace();
    }
    if (asked >= 0) {
      System.exit(0);
    }
    Runtime.getRuntime().halt(0);
  }

  private static void serve(String[] args) throws Exception {
    PrintStream out = System.out;
    String[] format = {"format", "--ignore-formatted", "-t", args[1], "-c", args[0]};
    if (StorageTool.execute(format, System.err) != 0) {
      throw new IllegalStateException("the folder could not be formatted");
    }
    Properties properties = new Properties();
    try (FileInputStream file = new FileInputStream(args[0])) {
      properties.load(file);
    }
    KafkaRaftServer server = new KafkaRaftServer(KafkaConfig.fromProps(properties), Time.SYSTEM);
    Runtime.getRuntime().addShutdownHook(new Thread(server::shutdown));
    server.startup();
    out.println("ready");
    out.flush();
    server.awaitShutdown();
  }
}
