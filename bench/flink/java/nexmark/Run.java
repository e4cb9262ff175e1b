package nexmark;

import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.Table;
import org.apache.flink.table.api.TableDescriptor;
import org.apache.flink.table.api.TableEnvironment;

/**
 * Runs one query several times in one process and prints a line of JSON for each run.
 *
 * <p>Arguments: the file of table definitions, the file of the query, a file of Flink settings ({@code name: value} lines), and
 * how many runs follow the first. The first run warms the JIT and counts what comes out; the others feed {@code blackhole}.
 * Seconds run from the first source's start until the job has finished, so starting the JVM, planning the query and deploying
 * the job are outside the clock.
 */
public final class Run {
    private Run() {}

    public static void main(String[] args) throws Exception {
        String tables = Files.readString(Path.of(args[0]));
        String query = Files.readString(Path.of(args[1]));
        Configuration settings = new Configuration();
        for (String line : Files.readAllLines(Path.of(args[2]))) {
            String[] parts = line.split(": ", 2);
            if (parts.length == 2) {
                settings.setString(parts[0].trim(), parts[1].trim());
            }
        }
        int runs = Integer.parseInt(args[3]);
        for (int run = 0; run <= runs; run++) {
            CountedSink.reset();
            Clock.reset();
            once(tables, query, settings, run == 0 ? "counted" : "blackhole");
            double seconds = Clock.seconds();
            System.out.printf(
                    "{\"run\": %d, \"seconds\": %.6f, \"cpu_s\": %.6f, \"rows\": %d, \"changes\": %d}%n",
                    run, seconds, Clock.cpuSeconds(), CountedSink.rowsKept(), CountedSink.changes());
            System.gc();
        }
    }

    private static void once(String tables, String query, Configuration settings, String sink) throws Exception {
        TableEnvironment environment = TableEnvironment.create(
                EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(settings).build());
        environment.createTemporarySystemFunction("count_char", CountChar.class);
        for (String statement : tables.split(";\\s*\n")) {
            if (!statement.isBlank()) {
                environment.executeSql(statement);
            }
        }
        Table table = environment.sqlQuery(query);
        table.insertInto(TableDescriptor.forConnector(sink).build()).execute().await();
    }
}
