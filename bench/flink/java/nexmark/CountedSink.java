package nexmark;

import java.util.Set;
import java.util.concurrent.atomic.LongAdder;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.streaming.api.functions.sink.legacy.SinkFunction;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.sink.DynamicTableSink;
import org.apache.flink.table.connector.sink.legacy.SinkFunctionProvider;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.DynamicTableFactory;
import org.apache.flink.table.factories.DynamicTableSinkFactory;
import org.apache.flink.types.RowKind;

/**
 * The connector {@code counted}: takes what {@code blackhole} takes (every change but the row before an update) and counts it
 * by kind, to prove in the warm-up run that the work is done.
 */
public final class CountedSink implements DynamicTableSinkFactory, DynamicTableSink {
    static final LongAdder[] COUNTS = {new LongAdder(), new LongAdder(), new LongAdder(), new LongAdder()};

    /** Rows that stay in the result: those inserted less those deleted. */
    static long rowsKept() {
        return COUNTS[RowKind.INSERT.ordinal()].sum() - COUNTS[RowKind.DELETE.ordinal()].sum();
    }

    static long changes() {
        long changes = 0;
        for (LongAdder count : COUNTS) {
            changes += count.sum();
        }
        return changes;
    }

    static void reset() {
        for (LongAdder count : COUNTS) {
            count.reset();
        }
    }

    @Override
    public String factoryIdentifier() {
        return "counted";
    }

    @Override
    public Set<ConfigOption<?>> requiredOptions() {
        return Set.of();
    }

    @Override
    public Set<ConfigOption<?>> optionalOptions() {
        return Set.of();
    }

    @Override
    public DynamicTableSink createDynamicTableSink(DynamicTableFactory.Context context) {
        return this;
    }

    @Override
    public ChangelogMode getChangelogMode(ChangelogMode requested) {
        ChangelogMode.Builder mode = ChangelogMode.newBuilder();
        for (RowKind kind : requested.getContainedKinds()) {
            if (kind != RowKind.UPDATE_BEFORE) {
                mode.addContainedKind(kind);
            }
        }
        return mode.build();
    }

    @Override
    public SinkRuntimeProvider getSinkRuntimeProvider(DynamicTableSink.Context context) {
        return SinkFunctionProvider.of(new Count());
    }

    @Override
    public DynamicTableSink copy() {
        return new CountedSink();
    }

    @Override
    public String asSummaryString() {
        return "counted";
    }

    private static final class Count implements SinkFunction<RowData> {
        @Override
        public void invoke(RowData row, Context context) {
            COUNTS[row.getRowKind().ordinal()].increment();
        }
    }
}
