package capture;

import io.debezium.embedded.Connect;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.RecordChangeEvent;
import java.io.FileReader;
import java.lang.management.ManagementFactory;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.connect.source.SourceRecord;

/**
 * Drains a backlog with Debezium's embedded engine and prints one JSON object. Records are counted and thrown away as
 * they come out of the connector: they are not serialised, nor made durable, which Headwater does.
 *
 * Arguments: file of the engine's properties, number of row changes expected, seconds to wait.
 */
public final class Drain {
    private static long changes;
    private static long beganNanos;
    private static long beganCpuNanos;
    private static long endedNanos;
    private static long endedCpuNanos;
    private static String failure = "";

    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        try (FileReader reader = new FileReader(arguments[0])) {
            properties.load(reader);
        }
        long expected = Long.parseLong(arguments[1]);
        CountDownLatch done = new CountDownLatch(1);
        DebeziumEngine<RecordChangeEvent<SourceRecord>> engine = DebeziumEngine
                .create(io.debezium.engine.format.ChangeEventFormat.of(Connect.class))
                .using(properties)
                .using((success, message, error) -> {
                    if (!success) {
                        failure = message + (error == null ? "" : " " + error);
                    }
                    done.countDown();
                })
                .notifying((records, committer) -> take(records, committer, expected, done))
                .build();
        Thread thread = new Thread(engine);
        thread.start();
        done.await(Long.parseLong(arguments[2]), TimeUnit.SECONDS);
        System.out.printf("{\"rows\": %d, \"seconds\": %.3f, \"cpu_s\": %.3f, \"error_text\": \"%s\"}%n",
                changes, (endedNanos - beganNanos) / 1e9, (endedCpuNanos - beganCpuNanos) / 1e9,
                failure.replaceAll("[^ -!#-\\[\\]-~]", " "));
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    /** The clock runs from the first batch to the last: the engine's and the JVM's start are a present. */
    private static void take(List<RecordChangeEvent<SourceRecord>> records,
            DebeziumEngine.RecordCommitter<RecordChangeEvent<SourceRecord>> committer, long expected,
            CountDownLatch done) throws InterruptedException {
        if (beganNanos == 0) {
            beganNanos = System.nanoTime();
            beganCpuNanos = cpuNanos();
        }
        for (RecordChangeEvent<SourceRecord> record : records) {
            Object value = record.record().value();
            if (value instanceof org.apache.kafka.connect.data.Struct struct && struct.schema().field("op") != null) {
                changes++;
            }
            committer.markProcessed(record);
        }
        committer.markBatchFinished();
        endedNanos = System.nanoTime();
        endedCpuNanos = cpuNanos();
        if (changes >= expected) {
            done.countDown();
        }
    }

    private static long cpuNanos() {
        return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean())
                .getProcessCpuTime();
    }
}
