import java.io.PrintStream;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.util.Map;
import org.apache.iceberg.jdbc.JdbcCatalog;
import org.apache.iceberg.rest.RESTCatalogAdapter;
import org.apache.iceberg.rest.RESTCatalogServlet;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;

/**
 * An S3 server (S3Proxy over a folder) and an Iceberg REST catalog (Iceberg's reference implementation over SQLite) in
 * one process, both on the loopback address. Arguments: S3Proxy's properties file, port of the S3 server, port of the
 * catalog, the catalog's database, its warehouse, access key, secret key.
 */
public final class LakeServers {
  public static void main(String[] args) {
    Thread parent = new Thread(LakeServers::endWithParent);
    parent.setDaemon(true);
    parent.start();
    try {
      serve(args);
    } catch (Throwable failure) {
      failure.printStackTrace();
      System.exit(1);
    }
  }

  /** Standard input ends when whoever started this process has died. */
  private static void endWithParent() {
    try {
      System.in.read();
    } catch (java.io.IOException failure) {
      failure.printStackTrace();
    }
    Runtime.getRuntime().halt(0);
  }

  private static void serve(String[] args) throws Exception {
    PrintStream out = System.out; // S3Proxy puts a logger in its place
    org.gaul.s3proxy.Main.main(new String[] {"--properties", args[0]});
    JdbcCatalog catalog = new JdbcCatalog();
    catalog.initialize("rest", Map.of(
        "uri", "jdbc:sqlite:" + Path.of(args[3]).toAbsolutePath(),
        "jdbc.schema-version", "V1",
        "clients", "1",
        "warehouse", args[4],
        "io-impl", "org.apache.iceberg.aws.s3.S3FileIO",
        "s3.endpoint", "http://127.0.0.1:" + args[1],
        "s3.path-style-access", "true",
        "s3.access-key-id", args[5],
        "s3.secret-access-key", args[6],
        "client.region", "us-east-1"));
    ServletContextHandler context = new ServletContextHandler();
    context.addServlet(new ServletHolder(new RESTCatalogServlet(new RESTCatalogAdapter(catalog))), "/*");
    Server server = new Server(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[2])));
    server.setHandler(context);
    server.start();
    out.println("ready");
  }
}
