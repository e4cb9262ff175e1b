package nexmark;

import java.io.IOException;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.apache.flink.api.connector.source.Boundedness;
import org.apache.flink.api.connector.source.ReaderOutput;
import org.apache.flink.api.connector.source.Source;
import org.apache.flink.api.connector.source.SourceReader;
import org.apache.flink.api.connector.source.SourceReaderContext;
import org.apache.flink.api.connector.source.SourceSplit;
import org.apache.flink.api.connector.source.SplitEnumerator;
import org.apache.flink.api.connector.source.SplitEnumeratorContext;
import org.apache.flink.core.io.InputStatus;
import org.apache.flink.core.io.SimpleVersionedSerializer;
import org.apache.flink.table.data.RowData;

/**
 * A bounded source of one table's column files. Reader i of n takes every n-th block of rows, so that event time advances
 * alike in all readers. There are no splits to hand out: a reader knows its share from its own number.
 */
final class ColumnsSource implements Source<RowData, ColumnsSource.NoSplit, Integer> {
    private static final int BLOCK_ROWS = 1024;
    private final String folder;
    private final List<String> names;
    private final List<Boolean> isString;

    ColumnsSource(String folder, List<String> names, List<Boolean> isString) {
        this.folder = folder;
        this.names = names;
        this.isString = isString;
    }

    @Override
    public Boundedness getBoundedness() {
        return Boundedness.BOUNDED;
    }

    @Override
    public SourceReader<RowData, NoSplit> createReader(SourceReaderContext context) throws IOException {
        ColumnFiles files = new ColumnFiles(folder);
        return new Reader(
                new ColumnsRow(files, names, isString),
                Math.toIntExact(files.rows()),
                context.getIndexOfSubtask(),
                context.currentParallelism());
    }

    @Override
    public SplitEnumerator<NoSplit, Integer> createEnumerator(SplitEnumeratorContext<NoSplit> context) {
        return new Enumerator();
    }

    @Override
    public SplitEnumerator<NoSplit, Integer> restoreEnumerator(SplitEnumeratorContext<NoSplit> context, Integer state) {
        return new Enumerator();
    }

    @Override
    public SimpleVersionedSerializer<NoSplit> getSplitSerializer() {
        return new NothingSerializer<>(new NoSplit());
    }

    @Override
    public SimpleVersionedSerializer<Integer> getEnumeratorCheckpointSerializer() {
        return new NothingSerializer<>(0);
    }

    static final class NoSplit implements SourceSplit {
        @Override
        public String splitId() {
            return "none";
        }
    }

    private static final class Reader implements SourceReader<RowData, NoSplit> {
        private final ColumnsRow cursor;
        private final int rows;
        private final int step;
        private int block;

        Reader(ColumnsRow cursor, int rows, int index, int readers) {
            this.cursor = cursor;
            this.rows = rows;
            this.block = index * BLOCK_ROWS;
            this.step = readers * BLOCK_ROWS;
        }

        @Override
        public void start() {
            Clock.sourceStarted();
        }

        @Override
        public InputStatus pollNext(ReaderOutput<RowData> output) {
            int end = Math.min(block + BLOCK_ROWS, rows);
            for (int row = block; row < end; row++) {
                output.collect(cursor.at(row));
            }
            block += step;
            return block < rows ? InputStatus.MORE_AVAILABLE : InputStatus.END_OF_INPUT;
        }

        @Override
        public List<NoSplit> snapshotState(long checkpointId) {
            return List.of();
        }

        @Override
        public CompletableFuture<Void> isAvailable() {
            return CompletableFuture.completedFuture(null);
        }

        @Override
        public void addSplits(List<NoSplit> splits) {}

        @Override
        public void notifyNoMoreSplits() {}

        @Override
        public void close() {}
    }

    private static final class Enumerator implements SplitEnumerator<NoSplit, Integer> {
        @Override
        public void start() {}

        @Override
        public void handleSplitRequest(int subtask, String host) {}

        @Override
        public void addSplitsBack(List<NoSplit> splits, int subtask) {}

        @Override
        public void addReader(int subtask) {}

        @Override
        public Integer snapshotState(long checkpointId) {
            return 0;
        }

        @Override
        public void close() {}
    }

    private static final class NothingSerializer<T> implements SimpleVersionedSerializer<T> {
        private final T only;

        NothingSerializer(T only) {
            this.only = only;
        }

        @Override
        public int getVersion() {
            return 1;
        }

        @Override
        public byte[] serialize(T value) {
            return new byte[0];
        }

        @Override
        public T deserialize(int version, byte[] bytes) {
            return only;
        }
    }
}
