import jakarta.servlet.DispatcherType;
import jakarta.servlet.Filter;
import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.ServletRequest;
import jakarta.servlet.ServletResponse;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.io.PrintStream;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.iceberg.jdbc.JdbcCatalog;
import org.apache.iceberg.rest.RESTCatalogAdapter;
import org.apache.iceberg.rest.RESTCatalogServlet;
import org.eclipse.jetty.ee10.servlet.FilterHolder;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;

/**
 * An S3 server (S3Proxy over a folder) and an Iceberg REST catalog (Iceberg's reference implementation over SQLite) in
 * one process, on the loopback address. The catalog is there twice: for everybody, and on another port for who bears a token
 * that it has given for the access key and the secret key (OAuth 2, client credentials). Arguments: S3Proxy's properties file,
 * port of the S3 server, port of the catalog, the catalog's database, its warehouse, access key, secret key, port of the
 * guarded catalog.
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
    listen(Integer.parseInt(args[2]), catalog, null);
    listen(Integer.parseInt(args[7]), catalog, new Guard(args[5], args[6]));
    out.println("ready");
  }

  private static void listen(int port, JdbcCatalog catalog, Filter guard) throws Exception {
    ServletContextHandler context = new ServletContextHandler();
    context.addServlet(new ServletHolder(new RESTCatalogServlet(new RESTCatalogAdapter(catalog))), "/*");
    if (guard != null) {
      context.addFilter(new FilterHolder(guard), "/*", EnumSet.of(DispatcherType.REQUEST));
    }
    Server server = new Server(new InetSocketAddress("127.0.0.1", port));
    server.setHandler(context);
    server.start();
  }

  /** Gives tokens, each good for some requests, and lets nobody pass without one. */
  private record Guard(String client, String secret, Map<String, Integer> left) implements Filter {
    private static final int REQUESTS = 20;

    Guard(String client, String secret) {
      this(client, secret, new ConcurrentHashMap<>());
    }

    @Override
    public void doFilter(ServletRequest asked, ServletResponse answered, FilterChain chain)
        throws IOException, ServletException {
      HttpServletRequest request = (HttpServletRequest) asked;
      HttpServletResponse response = (HttpServletResponse) answered;
      String borne = String.valueOf(request.getHeader("Authorization")).replaceFirst("^Bearer ", "");
      if (request.getRequestURI().endsWith("/v1/oauth/tokens")) {
        give(request, response);
      } else if (!left.containsKey(borne)) {
        refuse(response, 401, "NotAuthorizedException", "a token is needed");
      } else if (left.merge(borne, -1, Integer::sum) < 0) {
        refuse(response, 419, "AuthenticationTimeoutException", "the token has expired");
      } else {
        chain.doFilter(request, response);
      }
    }

    private void give(HttpServletRequest request, HttpServletResponse response) throws IOException {
      if (!"client_credentials".equals(request.getParameter("grant_type"))
          || !client.equals(request.getParameter("client_id"))
          || !secret.equals(request.getParameter("client_secret"))) {
        response.setStatus(401);
        response.setContentType("application/json");
        response.getWriter().write("{\"error\": \"invalid_client\", \"error_description\": \"unknown client\"}");
        return;
      }
      String token = UUID.randomUUID().toString();
      left.put(token, REQUESTS);
      response.setContentType("application/json");
      response.getWriter().write("{\"access_token\": \"" + token + "\", \"token_type\": \"bearer\", \"expires_in\": 3600,"
          + " \"issued_token_type\": \"urn:ietf:params:oauth:token-type:access_token\"}");
    }

    private static void refuse(HttpServletResponse response, int code, String type, String said) throws IOException {
      response.setStatus(code);
      response.setContentType("application/json");
      response.getWriter().write("{\"error\": {\"message\": \"" + said + "\", \"type\": \"" + type + "\", \"code\": "
          + code + "}}");
    }
  }
}
