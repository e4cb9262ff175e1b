package readers;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Set;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;

/**
 * Reads Iceberg tables through REST catalogs and writes their rows as Parquet files.
 *
 * <p>Arguments: a file with a line for each table (address of the catalog, namespace, table, name of the copy, separated by
 * tabs), and the folder for the copies, which become Iceberg tables of a Hadoop catalog.
 */
public final class Read {
    private Read() {}

    public static void main(String[] args) throws Exception {
        Configuration settings = new Configuration();
        settings.setString("parallelism.default", "1");
        settings.setString("table.local-time-zone", "UTC");
        TableEnvironment flink = TableEnvironment.create(
                EnvironmentSettings.newInstance().inBatchMode().withConfiguration(settings).build());
        flink.executeSql("CREATE CATALOG copies WITH ('type' = 'iceberg', 'catalog-type' = 'hadoop', 'warehouse' = '"
                + Path.of(args[1]).toUri() + "')");
        flink.executeSql("CREATE DATABASE copies.`rows`");
        Set<String> known = new HashSet<>();
        for (String line : Files.readAllLines(Path.of(args[0]))) {
            String[] parts = line.split("\t");
            String catalog = "lake_" + parts[0].replaceAll("[^0-9]", "_");
            if (known.add(catalog)) {
                flink.executeSql("CREATE CATALOG " + catalog
                        + " WITH ('type' = 'iceberg', 'catalog-type' = 'rest', 'uri' = '" + parts[0] + "')");
            }
            String table = catalog + ".`" + parts[1] + "`.`" + parts[2] + "`";
            flink.executeSql("CREATE TABLE copies.`rows`.`" + parts[3] + "` AS SELECT * FROM " + table).await();
        }
        System.out.println(org.apache.flink.runtime.util.EnvironmentInformation.getVersion());
    }
}
