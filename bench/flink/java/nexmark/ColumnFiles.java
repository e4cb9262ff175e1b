package nexmark;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.apache.flink.core.memory.MemorySegment;
import org.apache.flink.core.memory.MemorySegmentFactory;

/**
 * One table as memory-mapped column files, written by bench/side_by_side/columns.py.
 *
 * <p>{@code rows} holds the number of rows as text; {@code NAME.i64} 64-bit integers; {@code NAME.offsets} (32-bit, one more
 * than rows) with {@code NAME.bytes} UTF-8 strings. All are little-endian and at most 2 GiB, which is what one mapping holds.
 */
final class ColumnFiles {
    private final Path folder;

    ColumnFiles(String folder) {
        this.folder = Path.of(folder);
    }

    long rows() throws IOException {
        return Long.parseLong(Files.readString(folder.resolve("rows")).trim());
    }

    MemorySegment integers(String name) throws IOException {
        return map(name + ".i64");
    }

    MemorySegment offsets(String name) throws IOException {
        return map(name + ".offsets");
    }

    MemorySegment bytes(String name) throws IOException {
        return map(name + ".bytes");
    }

    private MemorySegment map(String file) throws IOException {
        try (FileChannel channel = FileChannel.open(folder.resolve(file), StandardOpenOption.READ)) {
            return MemorySegmentFactory.wrapOffHeapMemory(
                    channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size()));
        }
    }
}
